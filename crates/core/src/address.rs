//! Addresses: `/SYSTEM/ENVIRONMENT/SERVICE/INSTANCE/ENDPOINT`, whole or cut short.
//!
//! A cut one names a subtree; a relative one (`web/2`) lies inside the current system and
//! environment. [`Pattern`] adds `*` (one part) and `**` (any parts). [`LineTarget`] is the form
//! that a line's `to` takes: there the instance is left out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{EndpointName, EnvironmentName, NameError, ServiceName, Slot, SystemName};

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A part breaks its name's rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The instance part is not a number from 1.
    #[error("`{0}` is not an instance number: it is a whole number from 1")]
    Slot(String),
    /// There are more than five parts, or none.
    #[error(
        "`{0}` is not an address: write /SYSTEM/ENVIRONMENT/SERVICE/INSTANCE/ENDPOINT or a \
         beginning of it, or SERVICE/INSTANCE/ENDPOINT without the leading slash"
    )]
    Parts(String),
}

/// A place in the tree of what runs. Parts are filled from the left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// The system.
    pub system: SystemName,
    /// The environment; absent when the address names the whole system.
    pub environment: Option<EnvironmentName>,
    /// The service.
    pub service: Option<ServiceName>,
    /// The instance.
    pub slot: Option<Slot>,
    /// The endpoint.
    pub endpoint: Option<EndpointName>,
}

impl Address {
    /// The address of an environment.
    #[must_use]
    pub fn environment(system: &SystemName, environment: &EnvironmentName) -> Self {
        Self {
            system: system.clone(),
            environment: Some(environment.clone()),
            service: None,
            slot: None,
            endpoint: None,
        }
    }

    /// The same address with the service set and all below it cleared.
    #[must_use]
    pub fn with_service(&self, service: &ServiceName) -> Self {
        Self { service: Some(service.clone()), slot: None, endpoint: None, ..self.clone() }
    }

    /// The same address with the slot set and the endpoint cleared.
    #[must_use]
    pub fn with_slot(&self, slot: Slot) -> Self {
        Self { slot: Some(slot), endpoint: None, ..self.clone() }
    }

    /// Reads an address; one without a leading slash is inside `here`.
    ///
    /// # Errors
    /// When a part breaks its rule or there are too many parts.
    pub fn parse_in(here: &Self, text: &str) -> Result<Self, AddressError> {
        if text.starts_with('/') {
            return text.parse();
        }
        let mut address = Self { service: None, slot: None, endpoint: None, ..here.clone() };
        let parts: Vec<&str> = text.split('/').collect();
        address.fill(&parts, text)?;
        Ok(address)
    }

    /// Fills service, slot and endpoint from `parts`.
    fn fill(&mut self, parts: &[&str], whole: &str) -> Result<(), AddressError> {
        if parts.len() > 3 {
            return Err(AddressError::Parts(whole.to_owned()));
        }
        self.service = parts.first().map(|part| part.parse()).transpose()?;
        self.slot = parts.get(1).map(|part| parse_slot(part)).transpose()?;
        self.endpoint = parts.get(2).map(|part| part.parse()).transpose()?;
        Ok(())
    }

    /// Whether `other` is this address or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.parts().iter().zip(other.parts()).all(|(mine, theirs)| *mine == theirs)
            && self.parts().len() <= other.parts().len()
    }

    /// The parts as texts, from the system on.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        let mut parts = vec![self.system.to_string()];
        parts.extend(self.environment.iter().map(ToString::to_string));
        parts.extend(self.service.iter().map(ToString::to_string));
        parts.extend(self.slot.iter().map(ToString::to_string));
        parts.extend(self.endpoint.iter().map(ToString::to_string));
        parts
    }
}

fn parse_slot(part: &str) -> Result<Slot, AddressError> {
    match part.parse::<u32>() {
        Ok(number) if number > 0 => Ok(Slot(number)),
        _ => Err(AddressError::Slot(part.to_owned())),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().iter().try_for_each(|part| write!(f, "/{part}"))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix('/').ok_or_else(|| AddressError::Parts(text.to_owned()))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let mut address = Self {
            system: parts[0].parse()?,
            environment: parts.get(1).map(|part| part.parse()).transpose()?,
            service: None,
            slot: None,
            endpoint: None,
        };
        address.fill(parts.get(2..).unwrap_or_default(), text)?;
        Ok(address)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

/// The other end of a line: `SERVICE`, `SERVICE/ENDPOINT` or `/SYSTEM/ENVIRONMENT/SERVICE/ENDPOINT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LineTarget {
    /// System and environment, when the target lies outside of this environment.
    pub elsewhere: Option<(SystemName, EnvironmentName)>,
    /// The service, or the name of an external box.
    pub service: ServiceName,
    /// The endpoint; absent means the only one that the service provides.
    pub endpoint: Option<EndpointName>,
}

impl FromStr for LineTarget {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError::Parts(text.to_owned());
        let (elsewhere, rest) = match text.strip_prefix('/') {
            None => (None, text),
            Some(rest) => {
                let mut parts = rest.splitn(3, '/');
                let system = parts.next().ok_or_else(bad)?.parse()?;
                let environment = parts.next().ok_or_else(bad)?.parse()?;
                (Some((system, environment)), parts.next().ok_or_else(bad)?)
            }
        };
        let mut parts = rest.split('/');
        let service = parts.next().ok_or_else(bad)?.parse()?;
        let endpoint = parts.next().map(str::parse).transpose()?;
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(Self { elsewhere, service, endpoint })
    }
}

impl fmt::Display for LineTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((system, environment)) = &self.elsewhere {
            write!(f, "/{system}/{environment}/")?;
        }
        write!(f, "{}", self.service)?;
        self.endpoint.iter().try_for_each(|endpoint| write!(f, "/{endpoint}"))
    }
}

/// An address pattern: parts separated by `/`, where `*` matches one part and `**` any number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; one without a leading slash is inside `here`.
    #[must_use]
    pub fn parse_in(here: &Address, text: &str) -> Self {
        let mut parts = Vec::new();
        if !text.starts_with('/') {
            parts.extend(here.parts().into_iter().take(2));
        }
        let written = text.split('/').filter(|part| !part.is_empty());
        parts.extend(written.map(str::to_owned));
        Self { parts }
    }

    /// Whether the address, or a subtree that it lies in, is matched.
    #[must_use]
    pub fn matches(&self, address: &Address) -> bool {
        match_parts(&self.parts, &address.parts())
    }
}

fn match_parts(pattern: &[String], parts: &[String]) -> bool {
    let Some((head, rest)) = pattern.split_first() else {
        return true;
    };
    if head == "**" {
        return (0..=parts.len()).any(|skip| match_parts(rest, &parts[skip..]));
    }
    parts
        .split_first()
        .is_some_and(|(part, left)| (head == "*" || head == part) && match_parts(rest, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Address {
        "/father/dev".parse().unwrap()
    }

    #[test]
    fn an_address_survives_a_round_trip() {
        for text in ["/father", "/father/dev", "/father/dev/web", "/father/dev/web/2/http"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(Address::parse_in(&here(), "web/2").unwrap().to_string(), "/father/dev/web/2");
    }

    #[test]
    fn bad_addresses_say_why() {
        assert!(matches!("/f/d/web/0".parse::<Address>(), Err(AddressError::Slot(_))));
        assert!(matches!("/f/d/w/1/e/x".parse::<Address>(), Err(AddressError::Parts(_))));
        assert!(matches!("web".parse::<Address>(), Err(AddressError::Parts(_))));
        assert!(matches!("/f/d/we b".parse::<Address>(), Err(AddressError::Name(_))));
    }

    #[test]
    fn a_short_address_contains_what_lies_below() {
        let web = Address::parse_in(&here(), "web").unwrap();
        assert!(here().contains(&web));
        assert!(web.contains(&"/father/dev/web/2/http".parse().unwrap()));
        assert!(!web.contains(&"/father/dev/db/1".parse().unwrap()));
        assert!(!web.contains(&here()));
    }

    #[test]
    fn patterns_match_parts_and_subtrees() {
        let web2 = "/father/dev/web/2/http".parse().unwrap();
        for (text, expected) in [
            ("web", true),
            ("*/2", true),
            ("*/1", false),
            ("/father/**/http", true),
            ("/other/**", false),
            ("**", true),
        ] {
            assert_eq!(Pattern::parse_in(&here(), text).matches(&web2), expected, "{text}");
        }
    }

    #[test]
    fn line_targets_are_short_or_absolute() {
        let target: LineTarget = "db/redis".parse().unwrap();
        assert_eq!((target.service.as_str(), target.endpoint.unwrap().as_str()), ("db", "redis"));
        let target: LineTarget = "/identity/prod/api/http".parse().unwrap();
        assert_eq!(target.to_string(), "/identity/prod/api/http");
        assert!("a/b/c".parse::<LineTarget>().is_err());
    }
}
