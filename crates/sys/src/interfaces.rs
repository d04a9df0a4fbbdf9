//! Addresses of the machine's network interfaces.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::command::check;

/// The addresses of an interface; `None` when there is no such interface.
///
/// # Errors
/// When the machine does not tell.
pub fn interface_addresses(name: &str) -> io::Result<Option<Vec<IpAddr>>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes a list to where the pointer points to, which is freed below.
    check(unsafe { libc::getifaddrs(&raw mut list) })?;
    let mut found: Option<Vec<IpAddr>> = None;
    let mut at = list;
    while !at.is_null() {
        // SAFETY: the list's members are valid until it is freed, and end with a null pointer.
        let entry = unsafe { &*at };
        // SAFETY: a name is a C string as long as its member is valid.
        let is_it = unsafe { CStr::from_ptr(entry.ifa_name) }.to_bytes() == name.as_bytes();
        if is_it {
            let all = found.get_or_insert_default();
            all.extend(address(entry.ifa_addr));
        }
        at = entry.ifa_next;
    }
    // SAFETY: it came from getifaddrs and nothing of it is used after this.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: an address that is not null begins with its family, whatever it is.
    let family = i32::from(unsafe { (*address).sa_family });
    match family {
        libc::AF_INET => {
            // SAFETY: an address of this family has this layout.
            let address = unsafe { &*address.cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family has this layout.
            let address = unsafe { &*address.cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        let addresses = interface_addresses("lo").expect("the machine tells");
        assert!(addresses.is_some_and(|all| all.contains(&Ipv4Addr::LOCALHOST.into())));
        assert_eq!(interface_addresses("no-such-interface").expect("it tells"), None);
    }
}
