//! Which browser a client runs in, by the `User-Agent` of its request: LiveKit's library for browsers does not say, and
//! some codecs do not work in some of them.

use livekit_protocol::ClientInfo;
use livekit_protocol::client_info::Sdk;

/// Completes what a client says of itself where it leaves out what its browser says. The names are those LiveKit's server
/// finds; of others than Firefox, Safari, Chromium's kin and their systems nothing is said.
pub(super) fn complete(info: &mut ClientInfo, user_agent: &str) {
    let may_be_browser =
        matches!(info.sdk(), Sdk::Js | Sdk::ReactNative | Sdk::Flutter | Sdk::Unity | Sdk::Unknown);
    if !may_be_browser {
        return;
    }
    if info.browser.is_empty()
        && let Some((name, version)) = browser(user_agent)
    {
        info.browser = name.to_owned();
        info.browser_version = version.to_owned();
    }
    if info.os.is_empty()
        && let Some(system) = system(user_agent)
    {
        info.os = system.to_owned();
    }
}

/// Name and version. Each of them also names those it once wanted to be taken for, so the order matters.
fn browser(user_agent: &str) -> Option<(&'static str, &str)> {
    let version = |product: &str| {
        let (_, rest) = user_agent.split_once(product)?;
        let end = rest.find(|one: char| one != '.' && !one.is_ascii_digit());
        Some(&rest[..end.unwrap_or(rest.len())])
    };
    let on_mobile = user_agent.contains("Mobile");
    let either = |desktop, mobile| if on_mobile { mobile } else { desktop };
    None.or_else(|| Some(("Firefox iOS", version("FxiOS/")?)))
        .or_else(|| Some((either("Firefox", "Firefox Mobile"), version("Firefox/")?)))
        .or_else(|| Some((either("Edge", "Edge Mobile"), version("Edg/")?)))
        .or_else(|| Some((either("Opera", "Opera Mobile"), version("OPR/")?)))
        .or_else(|| Some(("Chrome Mobile iOS", version("CriOS/")?)))
        .or_else(|| Some((either("Chrome", "Chrome Mobile"), version("Chrome/")?)))
        .or_else(|| {
            let version = version("Version/").filter(|_| user_agent.contains("Safari/"))?;
            Some((either("Safari", "Mobile Safari"), version))
        })
}

/// Android names Linux, too, and phones of Apple's name macOS.
fn system(user_agent: &str) -> Option<&'static str> {
    let known = [
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iOS"),
        ("Windows", "Windows"),
        ("Mac OS X", "Mac OS X"),
        ("Linux", "Linux"),
    ];
    known.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(user_agent: &str, info: ClientInfo) -> [String; 3] {
        let mut info = info;
        complete(&mut info, user_agent);
        [info.browser, info.browser_version, info.os]
    }

    fn found(user_agent: &str) -> [String; 3] {
        completed(user_agent, ClientInfo { sdk: Sdk::Js.into(), ..Default::default() })
    }

    #[test]
    fn browsers_are_known_by_what_they_send() {
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                ["Firefox", "140.0", "Linux"],
            ),
            (
                "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
                ["Firefox Mobile", "140.0", "Android"],
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.4 Safari/605.1.15",
                ["Safari", "18.4", "Mac OS X"],
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.0 Mobile/15E148 Safari/604.1",
                ["Mobile Safari", "18.0", "iOS"],
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                ["Edge", "140.0.0.0", "Windows"],
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                ["Chrome", "140.0.0.0", "Linux"],
            ),
            ("node", ["", "", ""]),
            ("", ["", "", ""]),
        ] {
            assert_eq!(found(user_agent), expected, "{user_agent}");
        }
    }

    #[test]
    fn what_a_client_says_itself_stays_and_native_ones_run_in_no_browser() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let named = ClientInfo { browser: "Safari".into(), os: "iOS".into(), ..Default::default() };
        assert_eq!(completed(firefox, named), ["Safari", "", "iOS"]);
        let native = ClientInfo { sdk: Sdk::Rust.into(), ..Default::default() };
        assert_eq!(completed(firefox, native), ["", "", ""]);
    }
}
