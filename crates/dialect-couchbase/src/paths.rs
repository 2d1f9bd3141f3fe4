//! The forms in which the manual and clients write a path, brought to one: `/api/v1/...` without a trailing slash.

/// Where this dialect's paths begin; `/api/v1` may be left out and may follow the cluster manager's `/_p/backup`.
pub const PREFIXES: [&str; 9] =
    [BASE, PROXY, "/cluster", "/plan", "/config", "/nodesThreadsMap", "/nodesThreads", "/repository", "/cloud"];

pub const BASE: &str = "/api/v1";
const PROXY: &str = "/_p/backup";

/// The manual prints the base once or twice.
const MOST_BASES: usize = 2;

/// The canonical form of a raw path.
pub fn canonical(raw_path: &str) -> String {
    let mut rest = strip(raw_path, PROXY).unwrap_or(raw_path);
    for _ in 0..MOST_BASES {
        rest = strip(rest, BASE).unwrap_or(rest);
    }
    // A plan without a name is no plan, and not the list of them either.
    if rest == "/plan/" || rest == "/cluster/plan/" {
        return format!("{BASE}/plan/");
    }
    let rest = rest.trim_end_matches('/');
    let rest = match alias(rest) {
        Some(other) => other,
        None => rest.to_owned(),
    };
    format!("{BASE}{rest}")
}

/// Whether the request came as through the cluster manager, whose answers carry no challenge.
pub fn is_proxied(raw_path: &str) -> bool {
    strip(raw_path, PROXY).is_some()
}

fn alias(rest: &str) -> Option<String> {
    if let Some(plan) = strip(rest, "/cluster/plan") {
        return Some(format!("/plan{plan}"));
    }
    if rest == "/nodesThreads" {
        return Some("/nodesThreadsMap".to_owned());
    }
    let is_archive = rest.starts_with("/repository/active/") && rest.ends_with("/archive");
    is_archive.then(|| format!("/cluster/self{rest}"))
}

/// What follows a prefix of whole segments.
fn strip<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_manual_leads_to_one_path() {
        for (sent, canonical_path) in [
            ("/api/v1/cluster/self", "/api/v1/cluster/self"),
            ("/_p/backup/api/v1/cluster/self", "/api/v1/cluster/self"),
            ("/api/v1/api/v1/plan", "/api/v1/plan"),
            ("/_p/backup/api/v1/api/v1/plan", "/api/v1/plan"),
            ("/cluster/self", "/api/v1/cluster/self"),
            ("/cluster/self/", "/api/v1/cluster/self"),
            ("/cluster/plan", "/api/v1/plan"),
            ("/api/v1/cluster/plan/", "/api/v1/plan/"),
            ("/api/v1/cluster/plan/x", "/api/v1/plan/x"),
            ("/api/v1/plan/x///", "/api/v1/plan/x"),
            ("/repository/active/quickRepo/archive", "/api/v1/cluster/self/repository/active/quickRepo/archive"),
            ("/api/v1/nodesThreads", "/api/v1/nodesThreadsMap"),
            ("/api/v1", "/api/v1"),
            ("/api/v1/", "/api/v1"),
            ("/_p/backup", "/api/v1"),
            ("/_p/backup/internal/v1/x", "/api/v1/internal/v1/x"),
        ] {
            assert_eq!(canonical(sent), canonical_path, "{sent}");
        }
    }

    #[test]
    fn a_third_prefix_is_a_wrong_path_and_a_plan_needs_a_name() {
        assert_eq!(canonical("/api/v1/api/v1/api/v1/plan"), "/api/v1/api/v1/plan");
        assert_eq!(canonical("/plan/"), "/api/v1/plan/");
        assert_eq!(canonical("/plans"), "/api/v1/plans");
        assert_eq!(canonical("/api/v1/cluster/planet"), "/api/v1/cluster/planet");
    }

    #[test]
    fn only_the_cluster_managers_prefix_hides_the_challenge() {
        assert!(is_proxied("/_p/backup/api/v1/plan"));
        assert!(!is_proxied("/api/v1/_p/backup"));
        assert!(!is_proxied("/_p/backups"));
    }
}
