use super::super::{Acl, Client, User};
use super::*;
use crate::TopicName;

fn text(text: &str) -> Text {
    text.parse().unwrap()
}

fn wrong<T>(result: Result<T, Vec<InvalidLine>>) -> Vec<String> {
    let Err(wrong) = result else { panic!("nothing is wrong") };
    wrong.iter().map(ToString::to_string).collect()
}

#[cfg(feature = "passwords")]
mod users {
    use super::super::super::{Auth, Denied, Login, hash_password};
    use super::*;

    /// By `mosquitto_passwd -b` and `mosquitto_passwd -H sha512 -b` of mosquitto 2.0.
    const FILE: &str = "\
# users
ann:$7$101$7zoZ0E1KR/kBE/89$xzkMf7cPXB+JGElOSF16jLiuQjq83jvPfDTEFp1psM78xBVetd2gfB5AgxC4lQXAcAbP4+C8PhnMkTySUBT84w==

bob:$6$4YqZeQIMmGMk9iTE$2ADCLD+xJKpV/MICNxE0CCfEFtV503SVBzqDKH73X1Bfx6WiNG40oxGMq4EWp/dL9PN2IuKd/0HV1qbRKyppMg==
";

    async fn enters(users: &Passwords, name: &str, password: &'static str) -> bool {
        let mut login = Login::new(text("client"));
        login.username = Some(text(name));
        login.password = Some(password.into());
        match users.authenticate(login).await {
            Ok(user) => user.name() == Some(&text(name)),
            Err(denied) => {
                assert_eq!(denied, Denied::Credentials);
                false
            }
        }
    }

    #[tokio::test]
    async fn users_of_mosquitto_get_in_with_their_passwords() {
        let users = Passwords::from_mosquitto(FILE).unwrap();
        for (name, password, expected) in [
            ("ann", "correct horse", true),
            ("ann", "Correct horse", false),
            ("ann", "", false),
            ("bob", "staple", true),
            ("bob", "staple ", false),
            ("carl", "staple", false),
        ] {
            assert_eq!(enters(&users, name, password).await, expected, "{name} {password:?}");
        }
        let hash = hash_password(b"new").unwrap();
        let users = Passwords::from_mosquitto(&format!("ann:{hash}")).unwrap();
        assert!(enters(&users, "ann", "new").await);
    }

    #[test]
    fn all_lines_that_are_no_users_are_told() {
        let file = "ann\nbob:secret\n\n#ok\ncarl:$7$x$AAAA$AAAA\ndora:$6$AAAA$AAAA\nemil:$5$a$b\n\
            fred:$7$4000000000$AAAA$AAAA\n";
        let wrong = wrong(Passwords::from_mosquitto(file));
        let lines: Vec<_> = wrong.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["line 1", "line 2", "line 5", "line 6", "line 7", "line 8"]);
        assert!(wrong[0].contains("no colon") && wrong[1].contains("mosquitto_passwd -U"));
        assert!(!wrong[1].contains("secret"), "a password is told");
    }
}

/// What the rules say of publishing and receiving: `pr` or dashes.
fn says(rules: &Rules, client: &str, user: Option<&str>, topic: &str) -> String {
    let user = user.map_or_else(User::anonymous, |name| User::named(text(name)));
    let (id, topic) = (text(client), topic.parse::<TopicName>().unwrap());
    let client = Client { id: &id, user: &user };
    let may = [(rules.may_publish(client, &topic), 'p'), (rules.may_receive(client, &topic), 'r')];
    may.map(|(may, letter)| if may { letter } else { '-' }).iter().collect()
}

#[test]
fn rules_of_mosquitto_say_the_same_here() {
    let rules = Rules::from_mosquitto(
        "topic read public/#\n\
         \n\
         # of ann\n\
         user ann\n\
         topic house/#\n\
         topic write  orders/#\n\
         topic deny house/safe\n\
         topic read with space\n\
         \n\
         user bob\n\
         topic readwrite #\n\
         topic deny $SYS/#\n\
         \n\
         pattern read devices/%c/in\n\
         pattern write devices/%u/out\n\
         pattern deny devices/broken/#\n",
    );
    let rules = rules.unwrap();
    let cases = [
        (None, "public/x", "-r"),
        (None, "house/x", "--"),
        (Some("ann"), "public/x", "--"),
        (Some("ann"), "house/x", "pr"),
        (Some("ann"), "house/safe", "--"),
        (Some("ann"), "orders/x", "p-"),
        (Some("ann"), "with space", "-r"),
        (Some("ann"), "devices/client/in", "-r"),
        (Some("ann"), "devices/other/in", "--"),
        (Some("ann"), "devices/ann/out", "p-"),
        (Some("bob"), "anything", "pr"),
        (Some("bob"), "$SYS/broker/uptime", "--"),
        // What is said of a user goes first.
        (Some("bob"), "devices/broken/x", "pr"),
        (Some("ann"), "devices/broken/x", "--"),
    ];
    for (user, topic, expected) in cases {
        assert_eq!(says(&rules, "client", user, topic), expected, "{user:?} {topic}");
    }
    let (id, user) = (text("client"), User::anonymous());
    let client = Client { id: &id, user: &user };
    for filter in ["#", "anything/+", "$SYS/#"] {
        assert!(rules.may_subscribe(client, &filter.parse().unwrap()), "{filter}");
    }
}

#[test]
fn all_lines_that_say_nothing_are_told() {
    let file = "user\ntopic\ntopic read\ntopic write a/#/b\nallow x\npattern deny \nuser ann\n";
    assert_eq!(
        wrong(Rules::from_mosquitto(file)),
        [
            "line 1: a user without a name",
            "line 2: there is no topic",
            "line 4: `a/#/b` is no topic filter of a rule: `#` in topic filter is not its last level",
            "line 5: `allow` is none of `user`, `topic` and `pattern`",
        ]
    );
}
