//! Which addresses and URLs pass.

use proptest::prelude::*;

use super::*;

fn public(address: &str) -> bool {
    is_public(address.parse().unwrap())
}

#[test]
fn addresses_of_the_public_internet_pass() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "192.0.1.1",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ] {
        assert!(public(address), "{address}");
    }
}

#[test]
fn all_other_addresses_do_not() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:808:808:0:0:80ff:fffe",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2002:c0a8:101::1",
        "2a00::5efe:127.0.0.1",
        "2a00::200:5efe:10.0.0.1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!public(address), "{address}");
    }
}

#[test]
fn urls_are_refused_before_anything_is_fetched() {
    let guard = UrlGuard::new(false);
    for url in [
        "",
        "no url",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "gopher://example.com",
        "http://user:pw@example.com/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0/",
    ] {
        assert!(guard.check(url).is_err(), "{url}");
    }
    assert!(guard.check("https://example.com/a.png").is_ok());
    assert!(UrlGuard::new(true).check("http://127.0.0.1/").is_ok());
    assert!(UrlGuard::new(true).check("file:///etc/passwd").is_err());
}

#[test]
fn errors_hide_credentials_and_queries() {
    let guard = UrlGuard::new(false);
    let error = guard
        .check("http://user:hunter2@h/?token=abc")
        .unwrap_err()
        .to_string();
    assert!(
        !error.contains("hunter2") && !error.contains("abc"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn an_address_is_as_private_in_ipv6_clothes_as_it_is_without(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from(bits);
        let [a, b] = [(bits >> 16) as u16, bits as u16];
        let public = is_public(v4.into());
        prop_assert_eq!(is_public(v4.to_ipv6_mapped().into()), public);
        prop_assert_eq!(is_public(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b).into()), public);
        prop_assert_eq!(is_public(Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1).into()), public);
        prop_assert!(!is_public(v4.to_ipv6_compatible().into()));
    }

    #[test]
    fn nothing_that_the_standard_library_calls_local_is_public(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from(bits);
        let local = v4.is_private() || v4.is_loopback() || v4.is_link_local()
            || v4.is_multicast() || v4.is_broadcast() || v4.is_documentation()
            || v4.is_unspecified();
        prop_assert!(!(local && is_public(v4.into())));
    }

    #[test]
    fn only_global_unicast_is_public_in_ipv6(bits in any::<u128>()) {
        let v6 = Ipv6Addr::from(bits);
        let carrier = v6.to_ipv4_mapped().is_some() || bits >> 32 == 0x64_ff9b << 64;
        prop_assert!(!is_public(v6.into()) || bits >> 125 == 1 || carrier);
    }
}
