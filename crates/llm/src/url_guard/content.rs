//! The content of an answer: read up to a limit, and unpacked up to the same.

use std::io::Read as _;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName},
};
use url::Url;

use super::{Fetched, UrlError, host_of, unreachable};

pub(super) async fn read(
    url: Url,
    mut response: Response,
    limit: usize,
) -> Result<Fetched, UrlError> {
    let too_large = || UrlError::TooLarge {
        host: host_of(&url),
        limit,
    };
    if response
        .content_length()
        .is_some_and(|announced| announced > limit as u64)
    {
        return Err(too_large());
    }
    let (media_type, charset) = content_type(&response);
    let encoding = header(&response, CONTENT_ENCODING).to_ascii_lowercase();
    let mut bytes = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| unreachable(&url, &error))?
    {
        if bytes.len() + piece.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    if !matches!(encoding.as_str(), "" | "identity") {
        let host = host_of(&url);
        // Small things can unpack to large ones, which takes a while.
        let unpacking =
            tokio::task::spawn_blocking(move || unpack(&encoding, &bytes, (host, limit)));
        bytes = unpacking.await.map_err(|error| UrlError::Packed {
            host: host_of(&url),
            encoding: error.to_string(),
        })??;
    }
    Ok(Fetched {
        url,
        media_type,
        charset,
        bytes: bytes.into(),
    })
}

fn header(response: &Response, name: HeaderName) -> String {
    let value = response.headers().get(name);
    let value = value.and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_owned()
}

/// The media type in lower case, and the encoding of the text.
fn content_type(response: &Response) -> (String, Option<String>) {
    let value = header(response, CONTENT_TYPE);
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    });
    (media_type, charset.filter(|name| !name.is_empty()))
}

fn unpack(
    encoding: &str,
    packed: &[u8],
    (host, limit): (String, usize),
) -> Result<Vec<u8>, UrlError> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let unpacked = match encoding {
        "gzip" | "x-gzip" => MultiGzDecoder::new(packed)
            .take(most)
            .read_to_end(&mut bytes),
        // What is called deflate is a zlib stream (RFC 9110, 8.4.1.2); some servers leave its frame out.
        "deflate" if packed.first().is_some_and(|first| first & 0x0f == 8) => {
            ZlibDecoder::new(packed).take(most).read_to_end(&mut bytes)
        }
        "deflate" => DeflateDecoder::new(packed)
            .take(most)
            .read_to_end(&mut bytes),
        _ => Err(std::io::Error::other("unknown")),
    };
    if bytes.len() > limit {
        return Err(UrlError::TooLarge { host, limit });
    }
    match unpacked {
        Ok(_) => Ok(bytes),
        Err(error) => Err(UrlError::Packed {
            host,
            encoding: format!("{}: {error}", encoding.chars().take(40).collect::<String>()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write};

    use super::*;

    const LIMIT: usize = 1_000_000;

    fn unpacked(encoding: &str, packed: &[u8]) -> Result<Vec<u8>, UrlError> {
        unpack(encoding, packed, ("example.org".to_owned(), LIMIT))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = write::GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn what_servers_pack_is_unpacked() {
        let text = b"ships ".repeat(100);
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&text).unwrap();
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(&text).unwrap();
        for (encoding, packed) in [
            ("gzip", gzip(&text)),
            ("x-gzip", gzip(&text)),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
        ] {
            assert_eq!(unpacked(encoding, &packed), Ok(text.clone()), "{encoding}");
        }
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_the_limit() {
        let bomb = gzip(&vec![0; 200_000_000]);
        assert!(bomb.len() < LIMIT);
        let error = unpacked("gzip", &bomb).unwrap_err();
        assert!(
            matches!(error, UrlError::TooLarge { limit: LIMIT, .. }),
            "{error}"
        );
    }

    #[test]
    fn what_is_packed_otherwise_or_broken_is_an_error_that_names_it() {
        let mut broken = gzip(b"ships");
        broken.truncate(12);
        for (encoding, packed) in [
            ("br", vec![1]),
            ("gzip, gzip", gzip(b"x")),
            ("gzip", broken),
        ] {
            let error = unpacked(encoding, &packed).unwrap_err().to_string();
            assert!(error.contains(encoding), "{error}");
        }
    }
}
