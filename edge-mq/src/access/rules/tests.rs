use super::super::User;
use super::*;

fn text(text: &str) -> Text {
    text.parse().unwrap()
}

/// What the rules say of publishing, subscribing and receiving: `psr` or dashes.
fn says(rules: &Rules, id: &str, user: &User, wanted: &str) -> String {
    let (id, mut said) = (text(id), String::new());
    let client = Client { id: &id, user };
    let topic = wanted.parse::<TopicName>().ok();
    let filter = wanted.parse().unwrap();
    let publish = topic.as_ref().is_some_and(|topic| rules.may_publish(client, topic));
    let receive = topic.as_ref().is_some_and(|topic| rules.may_receive(client, topic));
    let subscribe = rules.may_subscribe(client, &filter);
    for (may, letter) in [(publish, 'p'), (subscribe, 's'), (receive, 'r')] {
        said.push(if may { letter } else { '-' });
    }
    said
}

#[test]
fn first_rule_that_concerns_it_decides_and_none_forbids() {
    let rules: Rules = [
        Rule::deny("a/secret/#").unwrap(),
        Rule::allow("a/#").unwrap().publish(),
        Rule::allow("+/read").unwrap().read(),
        Rule::deny("a/#").unwrap(),
        Rule::allow("a/late").unwrap(),
    ]
    .into();
    let user = User::anonymous();
    for (wanted, expected) in [
        ("a/b", "p--"),
        ("a", "p--"),
        ("a/secret/x", "---"),
        ("a/secret", "---"),
        ("a/read", "psr"),
        ("b/read", "-sr"),
        ("+/read", "-s-"),
        ("a/late", "p--"),
        ("elsewhere", "---"),
        ("#", "---"),
    ] {
        assert_eq!(says(&rules, "c", &user, wanted), expected, "{wanted}");
    }
}

#[test]
fn rules_behind_others_decide_about_what_those_leave_open() {
    let first = Rules::from([Rule::deny("a").unwrap().publish()]);
    let rules = first.then([Rule::allow("+").unwrap()].into());
    let user = User::anonymous();
    for (wanted, expected) in [("a", "-sr"), ("b", "psr"), ("a/b", "---")] {
        assert_eq!(says(&rules, "id", &user, wanted), expected, "{wanted}");
    }
}

#[test]
fn rule_is_for_a_user_a_client_or_a_group() {
    let rules: Rules = [
        Rule::allow("user").unwrap().user(text("ann")),
        Rule::allow("client").unwrap().client(text("c1")),
        Rule::allow("group").unwrap().group(text("crew")),
    ]
    .into();
    let ann = User::named(text("ann"));
    let bob = User::named(text("bob")).in_group(text("crew"));
    for (user, id, expected) in [
        (&ann, "c1", ["psr", "psr", "---"]),
        (&bob, "ann", ["---", "---", "psr"]),
        (&User::anonymous(), "c1", ["---", "psr", "---"]),
    ] {
        let said = ["user", "client", "group"].map(|topic| says(&rules, id, user, topic));
        assert_eq!(said, expected, "{user:?} {id}");
    }
}

#[test]
fn names_stand_for_themselves_and_open_nothing_else() {
    let rules: Rules = [
        Rule::allow("own/%c/#").unwrap(),
        Rule::allow("both/%u-%c").unwrap(),
        Rule::allow("twice/%c%c").unwrap(),
    ]
    .into();
    let ann = User::named(text("ann"));
    for (id, wanted, expected) in [
        ("c", "own/c", "psr"),
        ("c", "own/c/x/y", "psr"),
        ("c", "own/d", "---"),
        ("c", "own/+", "---"),
        ("c", "own/#", "---"),
        ("c", "both/ann-c", "psr"),
        ("c", "both/bob-c", "---"),
        ("c", "both/ann-cc", "---"),
        ("c", "twice/cc", "psr"),
        ("c", "twice/c", "---"),
        // Identifiers that would be more than one level, or a wildcard.
        ("+", "own/+", "---"),
        ("+", "own/d", "---"),
        ("#", "own/#", "---"),
        ("a/b", "own/a/b", "---"),
        ("", "own/", "---"),
        ("%u", "own/ann", "---"),
        ("%u", "own/%u", "psr"),
    ] {
        assert_eq!(says(&rules, id, &ann, wanted), expected, "{id} {wanted}");
    }
    assert_eq!(says(&rules, "c", &User::anonymous(), "both/-c"), "---");
}

#[test]
fn wildcards_cover_what_they_match_and_no_more() {
    let user = User::anonymous();
    for (pattern, wanted, expected) in [
        ("#", "a/b", "psr"),
        ("#", "#", "-s-"),
        ("#", "+/+", "-s-"),
        ("#", "$SYS/load", "---"),
        ("+/load", "$SYS/load", "---"),
        ("$SYS/#", "$SYS/load", "psr"),
        ("+", "a", "psr"),
        ("+", "+", "-s-"),
        ("+", "#", "---"),
        ("+", "a/b", "---"),
        ("a/+", "a/#", "---"),
        ("a/+/c", "a/+/c", "-s-"),
        ("a/+/c", "a/b/+", "---"),
        ("a/b", "a/+", "---"),
        ("a/#", "a", "psr"),
        ("a/#", "a/+/#", "-s-"),
        ("a/#", "ab", "---"),
    ] {
        let rules: Rules = [Rule::allow(pattern).unwrap()].into();
        assert_eq!(says(&rules, "c", &user, wanted), expected, "{pattern} {wanted}");
    }
}

#[test]
fn what_is_no_filter_is_no_rule() {
    for filter in ["", "a/#/b", "a+", "x/%c#"] {
        let error = Rule::allow(filter).unwrap_err();
        assert_eq!(error.to_string(), format!("`{filter}` is no topic filter of a rule"));
    }
}
