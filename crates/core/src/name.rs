//! Names and numbers that identify things, a newtype each.
//!
//! Rules follow the Compose Specification: service and volume names are `[a-zA-Z0-9._-]+`,
//! system (project) names are lower case.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct NameError {
    /// What was expected, as in "service name".
    pub what: &'static str,
    /// The text that was given.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Longest name accepted, so that derived paths and DNS labels stay within their limits (63).
pub const NAME_LENGTH_MAX: usize = 63;

fn is_lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-'
}

fn is_mixed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $valid:ident, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the rule and wraps the text.
            ///
            /// # Errors
            /// When the text is empty, longer than [`NAME_LENGTH_MAX`] or holds another character.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let starts_well = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
                if !starts_well || text.len() > NAME_LENGTH_MAX || !text.chars().all($valid) {
                    return Err(NameError { what: $what, text, rule: $rule });
                }
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// What one model describes; Compose's project name.
    SystemName, "system name", is_lower,
    "it starts with a letter or digit and goes on with at most 62 of a-z 0-9 _ -"
);
name_type!(
    /// One running copy of a system.
    EnvironmentName, "environment name", is_lower,
    "it starts with a letter or digit and goes on with at most 62 of a-z 0-9 _ -"
);
name_type!(
    /// One kind of software in the system.
    ServiceName, "service name", is_mixed,
    "it starts with a letter or digit and goes on with at most 62 of a-z A-Z 0-9 . _ -"
);
name_type!(
    /// A named port that a service provides.
    EndpointName, "endpoint name", is_mixed,
    "it starts with a letter or digit and goes on with at most 62 of a-z A-Z 0-9 . _ -"
);
name_type!(
    /// What a service calls the other end of a line.
    Alias, "alias", is_mixed,
    "it starts with a letter or digit and goes on with at most 62 of a-z A-Z 0-9 . _ -"
);
name_type!(
    /// A named volume.
    VolumeName, "volume name", is_mixed,
    "it starts with a letter or digit and goes on with at most 62 of a-z A-Z 0-9 . _ -"
);

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_type!(
    /// The number of an instance within its service, from 1.
    Slot, u32
);
number_type!(
    /// What runs in a slot at a time; it only grows within an environment.
    Generation, u64
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        assert!(ServiceName::new("web.front_1-a").is_ok());
        assert!(ServiceName::new("-web").is_err());
        assert!(ServiceName::new("").is_err());
        assert!(ServiceName::new("a/b").is_err());
        assert!(SystemName::new("Father").is_err());
        assert!(SystemName::new("a".repeat(64)).is_err());
        assert_eq!(
            SystemName::new("Father").unwrap_err().to_string(),
            "`Father` is not a system name: it starts with a letter or digit and goes on with at \
             most 62 of a-z 0-9 _ -"
        );
    }
}
