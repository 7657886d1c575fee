//! The requests that a proxy gets (RFC 9110, section 7.6, and RFC 9112, section 3.2): where they are to go, and what of them is passed on.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes that a head may have.
const HEAD: usize = 32 * 1024;
const END: &[u8] = b"\r\n\r\n";
/// Headers that are for the proxy, or that it writes itself.
const OWN: [&str; 7] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "upgrade",
];

/// A request for a proxy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub host: String,
    pub port: u16,
    /// Whether the client wants a connection and speaks for itself then.
    pub tunnel: bool,
    /// What the server is sent first.
    pub forward: Vec<u8>,
}

/// Reads a head, and what came with it.
pub(crate) async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend(buffer.iter().take(count));
        // One that is too long comes without its end, and is refused for that.
        if end(&head).is_some() || head.len() > HEAD {
            return Ok(head);
        }
    }
}

fn end(head: &[u8]) -> Option<usize> {
    head.windows(END.len()).position(|part| part == END)
}

/// Takes a request apart.
pub(crate) fn parse(bytes: &[u8]) -> Result<Request, &'static str> {
    let place = end(bytes).ok_or("the head of the request is too long")?;
    let (head, rest) = bytes.split_at(place);
    let body = rest.get(END.len()..).unwrap_or_default();
    let text: String = head.iter().copied().map(char::from).collect();
    let mut lines = text.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] = words[..] else {
        return Err("this is no request of HTTP/1.1");
    };
    if method == "CONNECT" {
        let (host, port) = authority(target, None)?;
        return Ok(Request {
            host,
            port,
            tunnel: true,
            forward: body.to_vec(),
        });
    }
    let scheme = "http://";
    let rest = match target.get(..scheme.len()) {
        Some(start) if start.eq_ignore_ascii_case(scheme) => target.get(scheme.len()..),
        _ => None,
    };
    let rest = rest.ok_or("a proxy is asked for http:// URLs, or with CONNECT")?;
    let (named, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = authority(named, Some(80))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    // One request for each connection: the next may be for another host.
    let mut forward =
        format!("{method} {slash}{path} {version}\r\nHost: {named}\r\nConnection: close\r\n");
    for line in lines {
        let (name, _) = line.split_once(':').ok_or("a header has no colon")?;
        if name.is_empty()
            || name.contains(|c: char| c.is_whitespace() || c.is_control())
            || line.contains(['\r', '\n'])
        {
            return Err("the name of a header can't be read");
        }
        if !OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            forward.push_str(line);
            forward.push_str("\r\n");
        }
    }
    forward.push_str("\r\n");
    let mut forward: Vec<u8> = forward
        .chars()
        .filter_map(|c| u8::try_from(c).ok())
        .collect();
    forward.extend_from_slice(body);
    Ok(Request {
        host,
        port,
        tunnel: false,
        forward,
    })
}

/// Host and port of `host:port`.
fn authority(text: &str, usual: Option<u16>) -> Result<(String, u16), &'static str> {
    let wrong = "the host and port can't be read";
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port
            .parse()
            .ok()
            .filter(|_| port.bytes().all(|c| c.is_ascii_digit())),
        None => usual,
    };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let named = if text.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty() && host.chars().all(known)
    };
    if !named {
        return Err(wrong);
    }
    Ok((host.to_owned(), port.ok_or(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(bytes: &[u8]) -> (String, u16, bool, String) {
        let request = parse(bytes).expect("a request");
        let forward = String::from_utf8_lossy(&request.forward).into_owned();
        (request.host, request.port, request.tunnel, forward)
    }

    #[test]
    fn a_tunnel_is_to_the_named_host() {
        let asked = b"CONNECT example.com:443 HTTP/1.1\r\nHost: other.org\r\n\r\nhello";
        let expected = ("example.com".to_owned(), 443, true, "hello".to_owned());
        assert_eq!(forwarded(asked), expected);
        let (host, port, ..) = forwarded(b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\n\r\n");
        assert_eq!((host.as_str(), port), ("2001:db8::1", 8443));
    }

    #[test]
    fn a_request_is_passed_on_to_the_host_of_its_url_without_what_is_for_the_proxy() {
        let asked = b"POST HTTP://example.com:8080/a?b=c HTTP/1.1\r\nHost: other.org\r\nProxy-Authorization: x\r\n\
            Connection: keep-alive\r\nX-Own: \xe9\r\nContent-Length: 2\r\n\r\nhi";
        let request = parse(asked).expect("a request");
        let sent = b"POST /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\nX-Own: \xe9\r\n\
            Content-Length: 2\r\n\r\nhi";
        assert_eq!(request.forward, sent);
        assert_eq!((request.host.as_str(), request.port), ("example.com", 8080));
        let (_, port, _, sent) = forwarded(b"GET http://example.com?x HTTP/1.1\r\n\r\n");
        assert_eq!((port, sent.lines().next()), (80, Some("GET /?x HTTP/1.1")));
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let heads: [&[u8]; 14] = [
            b"",
            b"GET",
            b"GET / HTTP/1.1",
            b"GET https://example.com/ HTTP/1.1",
            b"GET http:///x HTTP/1.1",
            b"GET http://user@example.com/ HTTP/1.1",
            b"GET http://example.com:/ HTTP/1.1",
            b"GET http://example.com:+80/ HTTP/1.1",
            b"GET http://example.com:99999/ HTTP/1.1",
            b"GET http://exa\tmple.com/ HTTP/1.1",
            b"GET http://example.com/ HTTP/2",
            b"CONNECT example.com HTTP/1.1",
            b"CONNECT [x]:1 HTTP/1.1",
            b"GET http://example.com/ HTTP/1.1\r\nA: b\r\n folded: x",
        ];
        for head in heads {
            let whole = [head, END].concat();
            assert!(parse(&whole).is_err(), "{}", String::from_utf8_lossy(head));
        }
        assert!(parse(&vec![b'x'; HEAD + 1]).is_err());
        assert!(parse(b"GET http://example.com/ HTTP/1.1\r\nA: b\nHost: x\r\n\r\n").is_err());
    }
}
