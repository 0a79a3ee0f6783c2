//! Where the server is.

pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:50051";

/// What is given, else `SLUICE_ADDRESS`, else the default. Empty text is none.
pub(crate) fn address_of(given: Option<String>, environment: Option<String>) -> String {
    [given, environment]
        .into_iter()
        .flatten()
        .find(|address| !address.is_empty())
        .unwrap_or_else(|| DEFAULT_ADDRESS.to_owned())
}

/// The URI that the gRPC stack understands.
pub(crate) fn uri_of(address: &str) -> String {
    if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") }
}

/// True when the server is on this machine, so that it knows this process by its pid.
pub(crate) fn is_local(address: &str) -> bool {
    if address.starts_with("unix:") {
        return true;
    }
    let host = address.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host == "::1" || host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_is_given_else_the_environments_else_the_default() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(address_of(text("here:1"), text("gpu-box:50051")), "here:1");
        assert_eq!(address_of(None, text("gpu-box:50051")), "gpu-box:50051");
        assert_eq!(address_of(None, text("")), "127.0.0.1:50051");
        assert_eq!(address_of(None, None), "127.0.0.1:50051");
    }

    #[test]
    fn a_process_is_attached_only_where_the_server_knows_its_pid() {
        for address in ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/sluice"] {
            assert!(is_local(address), "{address}");
        }
        for address in ["gpu-box:1", "10.0.0.1:1", "[2001:db8::1]:1"] {
            assert!(!is_local(address), "{address}");
        }
    }
}
