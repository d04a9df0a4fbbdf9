//! AWS' signature of requests, version 4.

use brickyard_core::Digest;
use ring::hmac::{HMAC_SHA256, Key, sign};

use super::credentials::Credentials;

/// What is signed.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Escaped already, and without a query.
    pub(super) path: &'a str,
    /// By name, in small letters.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// Where and when a signature counts.
pub(super) struct Scope<'a> {
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) time: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// The value of the `Authorization` header.
pub(super) fn authorization(
    request: &Request<'_>,
    scope: &Scope<'_>,
    credentials: &Credentials,
) -> String {
    let date = scope.time.split('T').next().unwrap_or_default();
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let headers: String =
        request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!(
        "{}\n{}\n\n{headers}\n{names}\n{}",
        request.method,
        request.path,
        Digest::of(request.body).hex(),
    );
    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{}\n{place}\n{}", scope.time, Digest::of(canonical).hex(),);
    let mut key = format!("AWS4{}", credentials.secret).into_bytes();
    for part in [date, scope.region, scope.service, "aws4_request"] {
        key = keyed(&key, part);
    }
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{place}, SignedHeaders={names}, Signature={}",
        credentials.key,
        hex(&keyed(&key, &to_sign)),
    )
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `post-vanilla` and `post-x-www-form-urlencoded` of the test suite that AWS publishes.
    #[test]
    fn published_examples_are_signed_alike() {
        let credentials = Credentials {
            key: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session: None,
            ends_at: None,
        };
        let scope = Scope { time: "20150830T123600Z", region: "us-east-1", service: "service" };
        let plain = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        let form = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ];
        let cases = [
            (
                &plain[..],
                &b""[..],
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                &form[..],
                b"Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (headers, body, signature) in cases {
            let request = Request { method: "POST", path: "/", headers, body };
            let said = authorization(&request, &scope, &credentials);
            assert!(said.ends_with(&format!("Signature={signature}")), "{said}");
            let start = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/";
            assert!(said.starts_with(start), "{said}");
        }
    }
}
