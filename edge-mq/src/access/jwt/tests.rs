use jsonwebtoken::{Algorithm, EncodingKey, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::json;

use super::*;

const SECRET: &[u8] = &[7; 64];

/// Seconds since 1970, of a day in 2026.
const NOW: u64 = 1_780_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn login(client_id: &str, username: Option<&str>) -> Login {
    let username = username.map(|name| name.parse().unwrap());
    Login { username, ..Login::new(client_id.parse().unwrap()) }
}

fn signed(header: &Header, key: &EncodingKey, claims: &Value) -> String {
    encode(header, claims, key).unwrap()
}

/// By HMAC with SHA-256.
fn token(claims: &Value) -> String {
    signed(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(SECRET), claims)
}

fn users() -> Jwt {
    Jwt::new([JwtKey::hs256(SECRET).unwrap()])
}

fn check(users: &Jwt, token: &str) -> Result<User, InvalidToken> {
    users.check(token.as_bytes(), &login("c", None), at(NOW))
}

fn claim(name: &str) -> InvalidToken {
    InvalidToken::claim(name)
}

/// `{"iss":"joe", "exp":1300819380, "http://example.com/is_root":true}`, as RFC 7515 has it.
const RFC_CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
/// An hour before that expires.
const RFC_TIME: u64 = 1_300_819_380 - 3600;

/// Appendices A.1, A.2 and A.3 of RFC 7515: header, signature, and the key as RFC 7517 writes it.
const RFC_TOKENS: [(&str, &str, &str); 3] = [
    (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        r#"{"kty":"oct","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
    ),
    (
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
    ),
    (
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    ),
];

fn set(keys: &[&str]) -> Vec<JwtKey> {
    JwtKey::set(&format!(r#"{{"keys":[{}]}}"#, keys.join(","))).unwrap()
}

/// With one bit of the signature changed.
fn damaged(signature: &str) -> String {
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{other}{}", &signature[1..])
}

#[test]
fn tokens_of_rfc_7515_are_taken_and_damaged_ones_are_not() {
    let all: Vec<_> = RFC_TOKENS.iter().map(|(_, _, key)| *key).collect();
    for (header, signature, key) in RFC_TOKENS {
        for keys in [set(&[key]), set(&all)] {
            let users = Jwt::new(keys).name_claim("iss").issuer("joe");
            let check = |token: String| {
                users.check(token.as_bytes(), &login("c", Some("joe")), at(RFC_TIME))
            };
            let user = check(format!("{header}.{RFC_CLAIMS}.{signature}")).unwrap();
            assert_eq!(user.name().unwrap().as_str(), "joe");
            let end = Some(Duration::from_secs(3600) + LEEWAY);
            assert_eq!(user.time_left(at(RFC_TIME)), end);
            let wrong = check(format!("{header}.{RFC_CLAIMS}.{}", damaged(signature)));
            assert_eq!(wrong, Err(InvalidToken::Signature), "{header}");
            let (begin, rest) = RFC_CLAIMS.split_at(12);
            let wrong = check(format!("{header}.{begin}x{}.{signature}", &rest[1..]));
            assert_eq!(wrong, Err(InvalidToken::Signature), "{header}");
        }
    }
}

#[test]
fn signature_of_rfc_8037_is_right() {
    // Appendices A.2 and A.4. What it signs are no claims, which is found out behind the signature.
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let begin = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let users = Jwt::new(set(&[key]));
    let right = check(&users, &format!("{begin}.{signature}"));
    assert_eq!(right, Err(InvalidToken::Malformed));
    let wrong = check(&users, &format!("{begin}.{}", damaged(signature)));
    assert_eq!(wrong, Err(InvalidToken::Signature));
}

/// A key pair of each kind that can be made here, with the public one.
fn pairs() -> [(Algorithm, EncodingKey, JwtKey); 5] {
    let (ec, ed) =
        (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256), KeyPair::generate_for(&PKCS_ED25519));
    let (ec, ed) = (ec.unwrap(), ed.unwrap());
    let secret = || EncodingKey::from_secret(SECRET);
    [
        (Algorithm::HS256, secret(), JwtKey::hs256(SECRET).unwrap()),
        (Algorithm::HS384, secret(), JwtKey::hs384(SECRET).unwrap()),
        (Algorithm::HS512, secret(), JwtKey::hs512(SECRET).unwrap()),
        (
            Algorithm::ES256,
            EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap(),
            JwtKey::es256(&ec.public_key_pem()).unwrap(),
        ),
        (
            Algorithm::EdDSA,
            EncodingKey::from_ed_der(&ed.serialize_der()),
            JwtKey::ed25519(&ed.public_key_pem()).unwrap(),
        ),
    ]
}

#[test]
fn key_takes_what_its_own_algorithm_has_signed_and_nothing_else() {
    let claims = json!({ "sub": "ann", "exp": NOW + 60 });
    let pairs = pairs();
    for (algorithm, private, _) in &pairs {
        let token = signed(&Header::new(*algorithm), private, &claims);
        for (other, _, public) in &pairs {
            let checked = check(&Jwt::new([public.clone()]), &token);
            match algorithm == other {
                true => assert!(checked.is_ok(), "{algorithm:?}: {checked:?}"),
                false => assert_eq!(checked, Err(InvalidToken::NoKey { kid: None })),
            }
        }
        // With all of them the right one is found.
        let all = Jwt::new(pairs.iter().map(|(_, _, public)| public.clone()));
        assert!(check(&all, &token).is_ok());
    }
}

#[test]
fn public_key_is_no_secret() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let pem = pair.public_key_pem();
    let users = Jwt::new([JwtKey::es256(&pem).unwrap()]);
    let claims = json!({ "sub": "ann", "exp": NOW + 60 });
    for secret in [pem.as_bytes(), pair.public_key_raw()] {
        let key = EncodingKey::from_secret(secret);
        let forged = signed(&Header::new(Algorithm::HS256), &key, &claims);
        assert_eq!(check(&users, &forged), Err(InvalidToken::NoKey { kid: None }));
    }
}

#[test]
fn each_wrong_token_has_its_reason() {
    let users = users().issuer("idp").audience("gate").audience("way");
    let right = json!({ "sub": "ann", "exp": NOW + 600, "iss": "idp", "aud": ["x", "way"] });
    assert!(check(&users, &token(&right)).is_ok());
    let cases = [
        ("exp", Value::Null, claim("exp")),
        ("exp", json!((NOW + 600).to_string()), claim("exp")),
        ("exp", json!(-1), claim("exp")),
        ("exp", json!(NOW - 60), InvalidToken::Expired),
        ("nbf", json!(NOW + 61), InvalidToken::TooEarly),
        ("nbf", json!("tomorrow"), claim("nbf")),
        ("iss", Value::Null, claim("iss")),
        ("iss", json!("mallory"), InvalidToken::Issuer),
        ("iss", json!(7), claim("iss")),
        ("aud", Value::Null, claim("aud")),
        ("aud", json!("elsewhere"), InvalidToken::Audience),
        ("aud", json!([]), InvalidToken::Audience),
        ("sub", Value::Null, claim("sub")),
        ("sub", json!(7), claim("sub")),
        ("sub", json!("a\0b"), claim("sub")),
        ("groups", json!(7), claim("groups")),
        ("groups", json!(["crew", 7]), claim("groups")),
    ];
    for (name, value, reason) in cases {
        let mut claims = right.clone();
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(check(&users, &token(&claims)), Err(reason), "{name} {value}");
    }
}

#[test]
fn what_is_no_signed_token_lets_nobody_in() {
    let right = token(&json!({ "sub": "ann", "exp": NOW + 60 }));
    let (unsigned, signature) = right.rsplit_once('.').unwrap();
    let claims = unsigned.split_once('.').unwrap().1;
    // `{"alg":"none"}`, and the same in other letters.
    let none = ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb05lIn0"];
    let mut cases: Vec<String> = ["", ".", "..", "a.b.c", "correct horse"].map(String::from).into();
    cases
        .extend(none.iter().flat_map(|none| {
            [format!("{none}.{claims}."), format!("{none}.{claims}.{signature}")]
        }));
    cases.extend([unsigned.to_owned(), format!("{right}."), format!("{right}.x")]);
    for token in cases {
        assert_eq!(check(&users(), &token), Err(InvalidToken::Malformed), "{token}");
    }
    assert_eq!(check(&users(), &format!("{unsigned}.")), Err(InvalidToken::Signature));
    let critical = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(SECRET);
    let critical = signed(&critical, &key, &json!({ "sub": "ann", "exp": NOW + 60 }));
    assert_eq!(check(&users(), &critical), Err(InvalidToken::Critical));
    // For somebody, and nobody here has that name.
    let meant = token(&json!({ "sub": "ann", "exp": NOW + 60, "aud": "elsewhere" }));
    assert_eq!(check(&users(), &meant), Err(InvalidToken::Audience));
}

#[test]
fn times_may_differ_by_the_leeway_and_have_fractions() {
    let users = users().leeway(Duration::from_secs(5));
    let cases = [
        (json!({ "exp": NOW - 4 }), true),
        (json!({ "exp": NOW - 5 }), false),
        (json!({ "exp": NOW as f64 - 4.5 }), true),
        (json!({ "exp": NOW + 60, "nbf": NOW + 5 }), true),
        (json!({ "exp": NOW + 60, "nbf": NOW + 6 }), false),
        (json!({ "exp": u64::MAX }), false),
    ];
    for (mut claims, is_taken) in cases {
        claims["sub"] = "ann".into();
        assert_eq!(check(&users, &token(&claims)).is_ok(), is_taken, "{claims}");
    }
}

#[test]
fn claims_say_name_groups_and_client() {
    let users = users().name_claim("user").groups_claim("roles").client_id_claim("device");
    let claims = |groups: Value| {
        token(&json!({ "exp": NOW + 60, "user": "ann", "device": "d7", "roles": groups }))
    };
    let many = claims(json!(["crew", "night"]));
    let user = users.check(many.as_bytes(), &login("d7", Some("ann")), at(NOW)).unwrap();
    assert_eq!(user.groups().iter().map(Text::as_str).collect::<Vec<_>>(), ["crew", "night"]);
    let one = claims(json!("crew"));
    let cases = [
        (login("d7", Some("")), Ok(())),
        (login("d7", None), Ok(())),
        (login("d7", Some("bob")), Err(InvalidToken::Username)),
        (login("d8", Some("ann")), Err(InvalidToken::ClientId)),
        (login("", None), Err(InvalidToken::ClientId)),
    ];
    for (login, expected) in cases {
        let checked = users.check(one.as_bytes(), &login, at(NOW));
        assert_eq!(checked.map(drop), expected, "{login:?}");
    }
    let users = users.any_username();
    let user = users.check(one.as_bytes(), &login("d7", Some("token")), at(NOW)).unwrap();
    assert!(user.is_in("crew") && user.name().unwrap().as_str() == "ann");
}

#[test]
fn key_identifier_chooses_the_key_and_keys_can_be_replaced() {
    let secret = |byte: u8| [byte; 32];
    let key = |byte: u8, id: &str| JwtKey::hs256(&secret(byte)).unwrap().id(id);
    let token = |byte: u8, kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
        let claims = json!({ "sub": "ann", "exp": NOW + 60 });
        signed(&header, &EncodingKey::from_secret(&secret(byte)), &claims)
    };
    let users = Jwt::new([key(1, "old"), key(2, "new")]);
    let clone = users.clone();
    for (byte, kid) in [(1, Some("old")), (2, Some("new")), (1, None), (2, None)] {
        assert!(check(&users, &token(byte, kid)).is_ok(), "{byte} {kid:?}");
    }
    assert_eq!(check(&users, &token(2, Some("old"))), Err(InvalidToken::Signature));
    assert_eq!(check(&users, &token(3, None)), Err(InvalidToken::Signature));
    let unknown = InvalidToken::NoKey { kid: Some("next".to_owned()) };
    assert_eq!(check(&users, &token(3, Some("next"))), Err(unknown));
    users.set_keys([key(3, "next")]);
    assert!(check(&clone, &token(3, Some("next"))).is_ok());
    assert!(check(&clone, &token(1, Some("old"))).is_err());
}

#[test]
fn keys_that_are_none_or_too_short_are_errors() {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let is_pem = |result| matches!(result, Err(JwtKeyError::Pem { .. }));
    assert!(is_pem(JwtKey::es256(&pair.public_key_pem())));
    assert!(is_pem(JwtKey::ed25519(&pair.serialize_pem())));
    assert!(is_pem(JwtKey::rs256("no PEM")));
    for (result, least) in [
        (JwtKey::hs256(&[7; 31]), 32),
        (JwtKey::hs384(&[7; 47]), 48),
        (JwtKey::hs512(&[7; 63]), 64),
    ] {
        let Err(JwtKeyError::Weak { least: found, .. }) = result else { panic!("{result:?}") };
        assert_eq!(found, least);
    }
    // 1024 bits.
    let short =
        format!(r#"{{"keys":[{{"kty":"RSA","n":"{}","e":"AQAB"}}]}}"#, "_".repeat(170) + "8");
    assert!(matches!(JwtKey::set(&short), Err(JwtKeyError::Weak { bytes: 128, .. })));
    assert!(matches!(JwtKey::set("{}"), Err(JwtKeyError::Set(_))));
}

#[test]
fn set_passes_over_what_is_not_for_signatures() {
    let ec = RFC_TOKENS[2].2;
    let others = [
        ec.replace(r#""kty""#, r#""use":"enc","kty""#),
        ec.replace(r#""kty""#, r#""key_ops":["sign"],"kty""#),
        ec.replace(r#""kty""#, r#""alg":"HS256","kty""#),
        ec.replace("P-256", "P-521"),
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}"#.to_owned(),
        r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#.to_owned(),
    ];
    for other in &others {
        let alone = JwtKey::set(&format!(r#"{{"keys":[{other}]}}"#));
        assert!(matches!(alone, Err(JwtKeyError::NoneOfUse { keys: 1 })), "{other}: {alone:?}");
        assert_eq!(set(&[other, ec]).len(), 1, "{other}");
    }
}

#[test]
fn only_who_came_by_a_token_that_is_valid_may_stay() {
    let (users, now) = (users(), SystemTime::now());
    let ann = || User::named("ann".parse().unwrap());
    assert!(users.may_stay(&ann().valid_until(now + LEEWAY)));
    assert!(!users.may_stay(&ann().valid_until(now - LEEWAY)));
    assert!(!users.may_stay(&ann()));
    assert!(!users.may_stay(&User::anonymous()));
}

#[test]
fn secrets_are_not_shown() {
    let shown =
        format!("{:?}", Jwt::new([JwtKey::hs256(b"abcdefghijklmnopqrstuvwxyz012345").unwrap()]));
    assert!(!shown.contains("abc") && !shown.contains("97, 98"), "{shown}");
}
