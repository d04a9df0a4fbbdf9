//! Certificates that live as long as a test.

use camino::{Utf8Path, Utf8PathBuf};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Now, and for long.
    Long,
    /// It has ended.
    Over,
}

/// Somebody who vouches for servers and clients, with a directory of PEM files.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: Utf8PathBuf,
    file: Utf8PathBuf,
}

impl Authority {
    /// A new one, whose own certificate is `NAME.pem` in an existing directory.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn new(directory: &Utf8Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is chance enough");
        let certificate = params.self_signed(&key).expect("it can be signed");
        let file = directory.join(format!("{name}.pem"));
        std::fs::write(&file, certificate.pem()).expect("the directory is there");
        Self { issuer: Issuer::new(params, key), directory: directory.to_owned(), file }
    }

    /// The file of its own certificate.
    #[must_use]
    pub fn file(&self) -> &Utf8Path {
        &self.file
    }

    /// Vouches for a host: the files of its certificate and its key.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn issue(&self, host: &str, life: Life) -> (Utf8PathBuf, Utf8PathBuf) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("it is a name");
        params.distinguished_name.push(DnType::CommonName, host);
        if life == Life::Over {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().expect("there is chance enough");
        let certificate = params.signed_by(&key, &self.issuer).expect("it can be signed");
        let file = |end: &str| self.directory.join(format!("{host}-{life:?}.{end}"));
        let (certificate_file, key_file) = (file("pem"), file("key"));
        std::fs::write(&certificate_file, certificate.pem()).expect("the directory is there");
        std::fs::write(&key_file, key.serialize_pem()).expect("the directory is there");
        (certificate_file, key_file)
    }
}
