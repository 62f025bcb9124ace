use super::*;

#[test]
fn filters_that_mqtt_allows() {
    for text in
        ["a", "/", "//", "a/", "/a", "+", "#", "+/+", "a/+/b", "a/#", "/#", "+/#", "$SYS/#", " "]
    {
        assert!(text.parse::<TopicFilter>().is_ok(), "{text}");
    }
    let deepest = ["x"; MAX_FILTER_LEVELS].join("/");
    assert!(deepest.parse::<TopicFilter>().is_ok());
}

#[test]
fn filters_that_mqtt_forbids() {
    use InvalidFilter::*;
    let cases = [
        ("", Empty),
        ("a+", WildcardInLevel),
        ("+a/b", WildcardInLevel),
        ("a#", WildcardInLevel),
        ("##", WildcardInLevel),
        ("a/b#", WildcardInLevel),
        ("#/a", HashNotLast),
        ("a/#/b", HashNotLast),
        ("a/#/", HashNotLast),
        ("a\0b", Text(InvalidText::Nul)),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<TopicFilter>().unwrap_err(), error, "{text}");
    }
    let too_deep = ["x"; MAX_FILTER_LEVELS + 1].join("/");
    assert_eq!(too_deep.parse::<TopicFilter>().unwrap_err(), TooDeep);
}

#[test]
fn topics_have_no_wildcards_and_are_not_empty() {
    for (text, error) in [
        ("", InvalidTopic::Empty),
        ("a/+", InvalidTopic::Wildcard),
        ("#", InvalidTopic::Wildcard),
        ("a\0", InvalidTopic::Text(InvalidText::Nul)),
    ] {
        assert_eq!(text.parse::<TopicName>().unwrap_err(), error, "{text}");
    }
    assert!("/".parse::<TopicName>().is_ok());
    assert!("ü/\u{1F600}".parse::<TopicName>().is_ok());
    let long = "x".repeat(65_536);
    assert_eq!(long.parse::<TopicName>(), Err(InvalidTopic::Text(InvalidText::TooLong(65_536))));
}

/// The examples of section 4.7, and their like.
#[test]
fn matching() {
    let cases = [
        ("sport/tennis/player1", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("sport/#", "sports", false),
        ("#", "a/b/c", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+/b/#", "a/b", true),
        ("#", "$SYS/uptime", false),
        ("+/uptime", "$SYS/uptime", false),
        ("$SYS/#", "$SYS/uptime", true),
        ("$SYS/+", "$SYS/uptime", true),
        ("a/+/c", "a/$b/c", true),
        ("Sport", "sport", false),
    ];
    for (filter, topic, expected) in cases {
        let (filter, topic): (TopicFilter, TopicName) =
            (filter.parse().unwrap(), topic.parse().unwrap());
        assert_eq!(filter.matches(&topic), expected, "{filter} {topic}");
    }
}

#[test]
fn literal_prefix_is_what_every_match_begins_with() {
    for (filter, prefix) in
        [("a/b", "a/b"), ("a/#", "a"), ("a/+/b", "a"), ("+/b", ""), ("#", ""), ("/+", "")]
    {
        assert_eq!(filter.parse::<TopicFilter>().unwrap().literal_prefix(), prefix);
    }
}
