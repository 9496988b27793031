//! Digest authentication against the examples of its standards.

use sidestep_core::sip::digest::{
    Algorithm, Challenge, Credentials, DigestError, Login, answer_challenge,
};

const MUFASA: Login<'_> = Login {
    user: "Mufasa",
    password: "Circle of Life",
};

/// RFC 7616 §3.9.1: the challenges, in their order.
const SHA_256: &str = r#"Digest
    realm="http-auth@example.org",
    qop="auth, auth-int",
    algorithm=SHA-256,
    nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

#[test]
fn rfc_7616_section_3_9_1() {
    let md5 = SHA_256.replace("SHA-256", "MD5");
    let answer = |challenges: [&str; 2]| {
        let value = answer_challenge(
            challenges.map(str::as_bytes),
            MUFASA,
            "GET",
            "/dir/index.html",
            CNONCE,
            1,
        )
        .expect("an answer");
        Credentials::parse(value.as_bytes()).expect("credentials")
    };
    let sha = answer([SHA_256, &md5]);
    assert_eq!(sha.algorithm, Algorithm::Sha256);
    assert_eq!(
        sha.response,
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    );
    // The order is the challenger's preference.
    let md5 = answer([&md5, SHA_256]);
    assert_eq!(md5.algorithm, Algorithm::Md5);
    assert_eq!(md5.response, "8ca523f5e9506fed4657c9700eebdbec");
    for credentials in [sha, md5] {
        assert_eq!(credentials.username, "Mufasa");
        assert_eq!(
            credentials.opaque.as_deref(),
            Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS")
        );
        assert_eq!(credentials.nonce_count(), Some(1));
        assert!(credentials.verify("Circle of Life", "GET"));
        assert!(!credentials.verify("Circle of Life", "POST"));
        assert!(!credentials.verify("Circle of life", "GET"));
    }
}

/// The example's own header.
#[test]
fn rfc_7616_authorization_header() {
    let header = br#"Digest username="Mufasa",
       realm="http-auth@example.org",
       uri="/dir/index.html",
       algorithm=MD5,
       nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
       nc=00000001,
       cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
       qop=auth,
       response="8ca523f5e9506fed4657c9700eebdbec",
       opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
    let credentials = Credentials::parse(header).expect("credentials");
    assert!(credentials.verify("Circle of Life", "GET"));
    let again = Credentials::parse(credentials.to_string().as_bytes());
    assert_eq!(again, Ok(credentials));
}

/// RFC 2617 §3.5, with `qop="auth"` in quotes as some clients write it.
#[test]
fn rfc_2617_example() {
    let header = br#"Digest username="Mufasa", realm="testrealm@host.com",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", qop="auth",
        nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1",
        opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    let credentials = Credentials::parse(header).expect("credentials");
    assert_eq!(credentials.algorithm, Algorithm::Md5);
    assert!(credentials.verify("Circle Of Life", "GET"));
    assert!(!credentials.verify("circle of life", "GET"));
}

/// RFC 2617 §3.2.2.1 without qop, as RFC 2069 did; computed with another implementation:
/// MD5(MD5("bob:biloxi.com:zanzibar"):nonce:MD5("REGISTER:sip:biloxi.com")).
#[test]
fn without_qop() {
    let challenge = Challenge::parse(
        br#"Digest realm="biloxi.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#,
    )
    .expect("a challenge");
    assert!(!challenge.qop_auth);
    let login = Login {
        user: "bob",
        password: "zanzibar",
    };
    let credentials = challenge.answer(login, "REGISTER", "sip:biloxi.com", "unused", 1);
    assert_eq!(credentials.qop, None);
    assert!(credentials.verify("zanzibar", "REGISTER"));
    assert_eq!(credentials.response, "4441045a8075db3ead543693997e2a0e");
}

#[test]
fn what_is_not_known_is_passed_over() {
    let login = Login {
        user: "u",
        password: "p",
    };
    let answer = |challenges: &[&str]| {
        let values: Vec<&[u8]> = challenges.iter().map(|c| c.as_bytes()).collect();
        answer_challenge(values, login, "REGISTER", "sip:x", "c", 1)
    };
    let known = r#"Digest realm="r", nonce="n", algorithm=md5, qop=auth"#;
    for unknown in [
        r#"Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth""#,
        r#"Digest realm="r", nonce="n", algorithm=MD5-sess, qop="auth""#,
        r#"Digest realm="r", nonce="n", qop="auth-int""#,
        r#"Basic realm="r""#,
        r#"Digest realm="r""#,
        r#"Digest realm="r, nonce=n"#,
        "",
    ] {
        assert!(answer(&[unknown]).is_err(), "{unknown}");
        let value = answer(&[unknown, known]).expect("the known one");
        assert!(value.contains("algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\""));
    }
    assert_eq!(answer(&[]), Err(DigestError::Unsupported));
}

#[test]
fn quotes_and_backslashes_survive() {
    let challenge = Challenge {
        realm: r#"a "b" \ c, d"#.into(),
        nonce: "n".into(),
        opaque: Some(String::new()),
        algorithm: Algorithm::Sha256,
        qop_auth: true,
        stale: true,
    };
    let text = challenge.to_string();
    assert_eq!(Challenge::parse(text.as_bytes()), Ok(challenge.clone()));
    let login = Login {
        user: r#"o"brien\"#,
        password: "p:ä",
    };
    let credentials = challenge.answer(login, "REGISTER", "sip:x", "c", 0x10);
    let again = Credentials::parse(credentials.to_string().as_bytes()).expect("credentials");
    assert_eq!(again, credentials);
    assert_eq!(again.nonce_count(), Some(16));
    assert!(again.verify("p:ä", "REGISTER"));
}
