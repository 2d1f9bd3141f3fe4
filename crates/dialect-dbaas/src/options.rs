//! What an operator can choose.

/// How the gateway presents itself to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names of the region, all for this gateway; the first is the default one. Never empty: clients crash on an empty list.
    regions: Vec<String>,
}

impl Options {
    /// # Errors
    /// A sentence, when there is no region or one that is no lower-case word of letters, digits and hyphens.
    pub fn new(regions: Vec<String>) -> Result<Self, String> {
        if regions.is_empty() {
            return Err("At least one region must be named: clients of this API crash on an empty list.".to_owned());
        }
        for region in &regions {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if region.is_empty() || region.len() > 64 || !region.bytes().all(plain) {
                return Err(format!("The region {region:?} must be 1 to 64 lower-case letters, digits and hyphens."));
            }
        }
        Ok(Self { regions })
    }

    pub fn regions(&self) -> &[String] {
        &self.regions
    }

    /// Name of the default region.
    pub fn region(&self) -> &str {
        self.regions.first().map_or("local", String::as_str)
    }
}

impl Default for Options {
    /// `local`, and the name that published scripts and the Terraform provider fall back to.
    fn default() -> Self {
        Self { regions: vec!["local".to_owned(), "osc-fr1".to_owned()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_lower_case_words_and_there_is_at_least_one() {
        assert!(Options::new(Vec::new()).is_err());
        for bad in ["", "Local", "a b", "a/b", &"x".repeat(65)] {
            assert!(Options::new(vec![bad.to_owned()]).is_err(), "{bad}");
        }
        let options = Options::new(vec!["paris-1".to_owned(), "osc-fr1".to_owned()]).unwrap();
        assert_eq!(options.region(), "paris-1");
        assert_eq!(options.regions().len(), 2);
    }
}
