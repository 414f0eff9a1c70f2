//! The list of brokers. Pure.

use std::net::IpAddr;

/// The list as librdkafka takes it: `host:port`, separated by commas.
pub(super) fn check(list: &str) -> Result<String, String> {
    let brokers: Vec<&str> = list.split(',').map(str::trim).filter(|broker| !broker.is_empty()).collect();
    match brokers.iter().find(|broker| !is_broker(broker)) {
        Some(wrong) => Err(format!("{wrong:?} is not host:port")),
        None if brokers.is_empty() => Err("names no broker".to_owned()),
        None => Ok(brokers.join(",")),
    }
}

fn is_broker(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else { return false };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_six = |host: &str| {
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|ip| ip.parse::<IpAddr>().is_ok())
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    is_port && !host.is_empty() && (host.chars().all(is_host) || is_six(host))
}

/// Whether all of them are on this machine.
pub(super) fn are_loopback(list: &str) -> bool {
    list.split(',').all(|broker| {
        let host = broker.trim().rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_with_ports() {
        assert_eq!(check(" b1:9092, b2.example.com:9093 ,").unwrap(), "b1:9092,b2.example.com:9093");
        assert_eq!(check("[::1]:9092").unwrap(), "[::1]:9092");
        for wrong in ["", ",", "b1", "b1:0", "b1:x", ":9092", "PLAINTEXT://b1:9092", "u:p@b1:9092", "[::g]:1"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn loopback_is_what_never_leaves_the_machine() {
        assert!(are_loopback("localhost:1,127.0.0.3:2,[::1]:3"));
        assert!(!are_loopback("localhost:1,b1:2") && !are_loopback("10.0.0.1:1"));
    }
}
