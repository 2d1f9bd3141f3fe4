//! What all pages share: the dark band, the breadcrumbs, the style; and the sign-in page.

use maud::{DOCTYPE, Markup, html};

const STYLE: &str = "body{font:14px/1.5 sans-serif;margin:0;color:#222}a{color:#0b5cab}\
.band{background:#323232;color:#fff;padding:.6em 1em;display:flex;justify-content:space-between}.band a{color:#fff}\
.crumbs{background:#e8e8e8;padding:.4em 1em}main{padding:1em;max-width:70em}h2{margin:.2em 0 .6em}\
table{border-collapse:collapse;margin:0 0 1em}th,td{border:1px solid #ccc;padding:.3em .7em;text-align:left;vertical-align:top}\
th{background:#f4f4f4}pre{margin:0;white-space:pre-wrap}.failure{border:1px solid #b00;background:#fee;padding:.3em 1em;margin:0 0 1em}\
.notice{border:1px solid #393;background:#efe;padding:.5em 1em}label{display:block}input[type=text],input[type=password],textarea{width:30em}\
.hint{color:#555;font-size:12px}";

pub struct Frame<'a> {
    pub context: &'a str,
    pub title: &'a str,
    pub user: Option<&'a str>,
    pub crumbs: &'a [(String, String)],
    pub reload: Option<u32>,
}

pub fn frame(frame: &Frame<'_>, content: &Markup) -> String {
    let Frame { context, title, user, crumbs, reload } = frame;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="same-origin";
                @if let Some(seconds) = reload { meta http-equiv="refresh" content=(seconds); }
                title { (title) " · Enterprise Administrator API Directory" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                div.band {
                    span { "Enterprise Administrator API Directory" }
                    @match user {
                        Some(user) => span {
                            "Logged in user: " b #user { (user) } " | "
                            a #logout href=(format!("/{context}/admin/logout")) { "Logout" }
                        },
                        None => span { a href=(format!("/{context}/admin/login")) { "Login" } },
                    }
                }
                nav.crumbs aria-label="Breadcrumb" {
                    @for (position, (text, path)) in crumbs.iter().enumerate() {
                        @if position > 0 { " > " }
                        a href=(path) { (text) }
                    }
                }
                main { (content) }
            }
        }
    }
    .into_string()
}

/// `Home > system > disasterrecovery ...`: the literal path names; `Home` is the administrator root.
pub fn crumbs(context: &str, path: &str) -> Vec<(String, String)> {
    let root = format!("/{context}/admin");
    let mut crumbs = vec![("Home".to_owned(), root.clone())];
    let mut so_far = root.clone();
    for segment in path.strip_prefix(&root).unwrap_or_default().split('/').filter(|segment| !segment.is_empty()) {
        so_far = format!("{so_far}/{segment}");
        let encoded = format!("x={segment}");
        let text = url::form_urlencoded::parse(encoded.as_bytes()).next().map(|(_, text)| text.into_owned());
        crumbs.push((text.unwrap_or_default(), so_far.clone()));
    }
    crumbs
}

/// The sign-in page; `message` is why it is shown again.
pub fn sign_in(context: &str, redirect: &str, user: &str, message: Option<&str>) -> String {
    let content = html! {
        h2 { "Login" }
        @if let Some(message) = message { div.failure role="alert" { p { (message) } } }
        form method="post" action=(format!("/{context}/admin/login")) {
            input type="hidden" name="redirect" value=(redirect);
            table {
                tr { th { label for="username" { "Username" } } td { input #username type="text" name="username" value=(user) required autocomplete="username"; } }
                tr { th { label for="password" { "Password" } } td { input #password type="password" name="password" required autocomplete="current-password"; } }
            }
            button #login type="submit" { "Login" }
        }
    };
    let crumbs = crumbs(context, &format!("/{context}/admin/login"));
    frame(&Frame { context, title: "Login", user: None, crumbs: &crumbs, reload: None }, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breadcrumbs_are_the_names_of_the_path() {
        let crumbs = crumbs("arcgis", "/arcgis/admin/system/disasterrecovery/stores/my%20store");
        let texts: Vec<&str> = crumbs.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["Home", "system", "disasterrecovery", "stores", "my store"]);
        assert_eq!(crumbs[4].1, "/arcgis/admin/system/disasterrecovery/stores/my%20store");
    }

    #[test]
    fn what_a_person_typed_is_escaped() {
        let page = sign_in("arcgis", "/arcgis/admin", "<script>alert(1)</script>", Some("no & never"));
        assert!(!page.contains("<script>"));
        assert!(page.contains("&lt;script&gt;alert(1)"));
        assert!(page.contains("no &amp; never"));
    }
}
