//! Rules and keys of tokens in the settings of the example `broker`, from reload to reload.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_file_go_before_those_of_the_acl_file_and_change_by_reload() {
    let settings =
        |rule: &str| format!("[access]\nacl_file = 'rules'\n{rule}[[listener]]\nport = 0\n");
    let deny = "[[rule]]\ndeny = 'own/%c'\nto = 'publish'\n";
    let folder = Folder::new(&settings(deny));
    folder.write("rules", "pattern readwrite own/%c\n");
    let mut program = Program::start(&folder.settings());
    let address = program.address();
    let mut device = Options::new(Version::V5, "device").connect(address).await;
    device.subscribe("own/device", 1).await;
    device.publish("own/device", 1, false, "denied").await;
    assert_eq!(device.acknowledgement().await, Err("NotAuthorized".to_owned()));
    let elsewhere = "[[rule]]\nallow = 'other'\nclient = 'device'\n";
    folder.write("broker.toml", &settings(elsewhere));
    program.signal("-HUP");
    program.says("reloaded");
    for (topic, expected) in
        [("own/device", Ok(())), ("other", Ok(())), ("else", Err("NotAuthorized".to_owned()))]
    {
        device.publish(topic, 1, false, topic).await;
        loop {
            match device.next().await {
                Seen::Acknowledged(how) => break assert_eq!(how, expected, "{topic}"),
                Seen::Got(got) => assert_eq!(got.payload, "own/device"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A token of this user for an hour, by HS256.
#[cfg(feature = "jwt")]
fn token(user: &str, secret: &[u8]) -> &'static str {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    #[allow(clippy::disallowed_methods, reason = "tokens count by the clock on the wall")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let exp = now.as_secs() + 3600;
    let claims = serde_json::json!({ "name": user, "exp": exp, "iss": "us", "roles": ["crew"] });
    let key = EncodingKey::from_secret(secret);
    encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap().leak()
}

#[cfg(feature = "jwt")]
#[tokio::test(flavor = "multi_thread")]
async fn tokens_let_in_beside_passwords_and_their_keys_change_by_reload() {
    let [old, new] = ["o", "n"].map(|letter| letter.repeat(32));
    let folder = Folder::new(
        "[access]\npassword_file = 'users'\n[jwt]\nissuers = ['us']\nuser_claim = 'name'\n\
         groups_claim = 'roles'\n[[jwt.key]]\nalgorithm = 'HS256'\nsecret_file = 'secret'\n\
         [[rule]]\nallow = 'of/%u'\ngroup = 'crew'\n[[listener]]\nport = 0\n",
    );
    folder.write("users", ANN);
    folder.write("secret", &format!("{old}\n"));
    let mut program = Program::start(&folder.settings());
    let address = program.address();
    for version in VERSIONS {
        let mut cid = client(version, "cid", token("cid", old.as_bytes())).connect(address).await;
        cid.publish("of/cid", 1, false, "x").await;
        assert_eq!(cid.acknowledgement().await, Ok(()));
        client(version, "ann", "one").connect(address).await.disconnect().await;
        assert!(client(version, "ann", "two").is_refused(address).await);
        assert!(client(version, "cid", token("cid", new.as_bytes())).is_refused(address).await);
        assert!(client(version, "dan", token("cid", old.as_bytes())).is_refused(address).await);
        assert!(Options::new(version, "nobody").is_refused(address).await);
    }
    folder.write("secret", &new);
    program.signal("-HUP");
    program.says("reloaded");
    assert!(client(Version::V5, "cid", token("cid", old.as_bytes())).is_refused(address).await);
    client(Version::V5, "cid", token("cid", new.as_bytes())).connect(address).await;
    folder.write("secret", "short");
    program.signal("-HUP");
    program.says("key of 5 bytes is shorter than the 32 that HS256 asks for");
    program.says("1 mistake; nothing is changed");
}
