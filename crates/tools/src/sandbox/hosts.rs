//! Hosts that are opened for a tool.

/// A host that a tool may talk to, by HTTP or through a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostGrant {
    /// Its name or address. `*.` in front stands for every name below the one that follows.
    pub host: String,
    /// The one port that is opened; none for 443 and 80.
    pub port: Option<u16>,
}

impl HostGrant {
    /// Whether this host and port are opened.
    #[must_use]
    pub fn opens(&self, host: &str, port: u16) -> bool {
        let opened = match self.port {
            Some(own) => own == port,
            None => matches!(port, 443 | 80),
        };
        let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        let (granted, host) = (plain(&self.host), plain(host));
        opened
            && !granted.is_empty()
            && match granted.strip_prefix('*') {
                // With its dot: `*.example.com` is not `badexample.com`, and a lone star nothing.
                Some(below) => {
                    below.starts_with('.')
                        && below.len() > 1
                        && host.len() > below.len()
                        && host.ends_with(below)
                }
                None => granted == host,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_opens_the_host_that_it_names_and_no_other() {
        let table = [
            ("example.com", None, "example.com", 443, true),
            ("example.com", None, "Example.COM.", 80, true),
            ("example.com", None, "example.com", 8443, false),
            ("example.com", Some(8443), "example.com", 8443, true),
            ("example.com", Some(8443), "example.com", 443, false),
            ("example.com", None, "www.example.com", 443, false),
            ("example.com", None, "example.com.bad.org", 443, false),
            ("*.example.com", None, "a.b.example.com", 443, true),
            ("*.example.com", None, "example.com", 443, false),
            ("*.example.com", None, "badexample.com", 443, false),
            ("*.example.com", None, ".example.com", 443, false),
            ("*", None, "example.com", 443, false),
            ("*.", None, "example.com", 443, false),
            ("*com", None, "example.com", 443, false),
            ("", None, "", 443, false),
        ];
        for (host, port, asked, at, opened) in table {
            let grant = HostGrant {
                host: host.to_owned(),
                port,
            };
            assert_eq!(
                grant.opens(asked, at),
                opened,
                "{host} {port:?}: {asked}:{at}"
            );
        }
    }
}
