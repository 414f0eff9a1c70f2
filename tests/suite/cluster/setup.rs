//! `etl cluster init` and `check`: what is made, what is refused, and what is said.

use std::fs;

use etl::cluster::kafka::{Admin, TopicSpec};

use super::connection;
use crate::support::cli::{Place, Ran};
use crate::support::kafka::{Kafka, PASSWORD, USER, shared, unique_name};
use crate::support::{TestS3, s3, unique_prefix};

/// A machine of a cluster.
struct Machine {
    place: Place,
    kafka: &'static Kafka,
    s3: TestS3,
    name: String,
    prefix: String,
}

impl Machine {
    fn new(name: &str) -> Option<Self> {
        let (kafka, s3) = (shared()?, s3()?);
        let mut place = Place::new("");
        place.trust(&s3);
        let machine = Self { place, kafka, s3, name: unique_name(name), prefix: unique_prefix(name) };
        machine.configure("/a", "", 2);
        Some(machine)
    }

    /// Its source is at this path, and this stands before the table of the destination.
    fn configure(&self, path: &str, more: &str, lanes: u32) {
        self.write(path, more, &self.kafka.cluster(&self.name, lanes));
    }

    fn write(&self, path: &str, more: &str, cluster: &str) {
        let load = self.s3.load(&self.prefix);
        self.place.configure(&format!(
            "[source]\nurl = \"https://api.example.com{path}?token=s3cret\"\n{more}[load]\n{load}{cluster}"
        ));
    }

    fn cluster(&self, verb: &str) -> Ran {
        self.place.etl(&["--log-format", "text", "cluster", verb])
    }

    fn admin(&self) -> Admin {
        Admin::new(&connection(&self.kafka.cluster(&self.name, 2))).unwrap()
    }

    fn topic(&self, topic: &str) -> String {
        format!("{}.{topic}", self.name)
    }
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.out.contains(word) || ran.err.contains(word), "{word}: {ran:#?}");
    }
}

#[test]
fn init_makes_what_is_missing_once_and_check_finds_it_right() {
    let Some(machine) = Machine::new("init") else { return };
    let before = machine.cluster("check").exits(78);
    says(&before, &["it is not there", "etl cluster init", "settings"]);
    let made = machine.cluster("init").exits(0);
    assert_eq!((made.out.matches(" made\n").count(), made.out.matches("was there").count()), (5, 0), "{}", made.out);
    let again = machine.cluster("init").exits(0);
    assert_eq!((again.out.matches(" made\n").count(), again.out.matches("was there").count()), (0, 5), "{}", again.out);
    let checked = machine.cluster("check").exits(0);
    says(&checked, &["those of the cluster", "2 lanes, epoch 1", "is this cluster's", "1 broker"]);
    let steps = machine.place.etl(&["cluster", "check", "--json"]).exits(0).json();
    assert!(steps["steps"].as_array().unwrap().iter().all(|step| step["result"] != "failed"), "{steps}");
    let lanes = machine.admin().topics(&[machine.topic("lanes-1"), machine.topic("none")]).unwrap();
    let state = lanes[0].as_ref().unwrap();
    assert!(state.partitions == 2 && state.settings["retention.ms"] == "-1" && lanes[1].is_none(), "{state:?}");
    assert_eq!(machine.s3.keys(&machine.prefix).iter().filter(|key| key.ends_with("cluster.json")).count(), 1);
    assert!(!format!("{made:?}{checked:?}").contains("s3cret"));
}

#[test]
fn topic_that_promises_less_is_refused_with_the_command_that_mends_it() {
    let Some(machine) = Machine::new("topics") else { return };
    machine.cluster("init").exits(0);
    for (topic, key, wrong, right) in [
        ("pages", "retention.ms", "3600000", "-1"),
        ("waiting", "cleanup.policy", "compact", "delete"),
        ("lanes-1", "unclean.leader.election.enable", "true", "false"),
        ("pages", "flush.messages", "10000", "1"),
    ] {
        let topic = machine.topic(topic);
        machine.admin().set(&topic, &[(key, wrong)]).unwrap();
        let refused = machine.cluster("check").exits(78);
        says(
            &refused,
            &[&format!("{topic}: {key} is {wrong}"), &format!("--entity-name {topic} --add-config {key}={right}")],
        );
        machine.cluster("init").exits(78);
        machine.admin().set(&topic, &[(key, right)]).unwrap();
        machine.cluster("check").exits(0);
    }
}

#[test]
fn another_number_of_lanes_is_refused() {
    let Some(machine) = Machine::new("lanes") else { return };
    let spec = TopicSpec { name: machine.topic("lanes-1"), partitions: 3, replication: 1, settings: Vec::new() };
    machine.admin().create(&spec).unwrap();
    says(&machine.cluster("init").exits(78), &["it has 3 partitions, and cluster.lanes is 2", "cluster.lanes = 3"]);
    let Some(machine) = Machine::new("lanes") else { return };
    machine.cluster("init").exits(0);
    machine.configure("/a", "", 3);
    for verb in ["init", "check"] {
        says(&machine.cluster(verb).exits(78), &["cluster.lanes is 3", "has 2 lanes", "set cluster.lanes = 2"]);
    }
}

#[test]
fn machine_with_another_source_or_another_form_of_parts_is_refused() {
    let Some(machine) = Machine::new("source") else { return };
    machine.cluster("init").exits(0);
    machine.configure("/b", "", 2);
    says(
        &machine.cluster("init").exits(78),
        &["source.url is https://api.example.com/b", "reads from https://api.example.com/a"],
    );
    says(&machine.cluster("check").exits(78), &["--new-source"]);
    machine.place.etl(&["cluster", "init", "--new-source"]).exits(0);
    machine.cluster("check").exits(0);
    machine.configure("/a", "", 2);
    machine.cluster("check").exits(78);
    machine.configure("/b", "[hours]\ntimezone = \"Asia/Seoul\"\n", 2);
    says(&machine.cluster("check").exits(78), &["hours.timezone differs"]);
}

#[test]
fn one_name_has_one_prefix_and_one_prefix_one_cluster() {
    let Some(mut machine) = Machine::new("prefix") else { return };
    machine.cluster("init").exits(0);
    let (name, prefix) = (machine.name.clone(), machine.prefix.clone());
    machine.prefix = unique_prefix("other");
    machine.configure("/a", "", 2);
    for verb in ["init", "check"] {
        says(&machine.cluster(verb).exits(78), &["load.to differs", &prefix, "another cluster.name"]);
    }
    (machine.prefix, machine.name) = (prefix, unique_name("other"));
    machine.configure("/a", "", 2);
    says(&machine.cluster("init").exits(78), &[&format!("belongs to the cluster {name}"), "choose another prefix"]);
    assert!(
        machine.admin().topics(&[machine.topic("pages")]).unwrap()[0].is_none(),
        "nothing is made before that is known"
    );
}

#[test]
fn brokers_that_do_not_answer_are_unavailable() {
    let Some(machine) = Machine::new("silent") else { return };
    machine.write("/a", "", "[cluster]\nbrokers = \"127.0.0.1:9\"\nname = \"x\"\n");
    says(&machine.cluster("check").exits(75), &["no broker of cluster.brokers answers", "Connection refused"]);
    let refused = machine.cluster("init").exits(75);
    says(&refused, &["nothing is lost"]);
    assert!(
        !refused.err.contains("%3|") && !refused.err.contains("FAIL"),
        "the library says nothing by itself: {}",
        refused.err
    );
}

#[test]
fn configuration_that_cannot_be_is_refused_before_anybody_is_asked() {
    let Some(machine) = Machine::new("config") else { return };
    let cluster = |more: &str| format!("[cluster]\nname = \"x\"\n{more}\n");
    for (text, words) in [
        (cluster("brokers = \"b1:9092\""), "nothing says how the way"),
        (cluster("brokers = \"b1\"\nsecurity = \"tls\""), "is not host:port"),
        (cluster("security = \"tls\""), "it needs cluster.brokers"),
        ("[cluster]\nbrokers = \"localhost:9\"\n".to_owned(), "it needs cluster.name"),
        (cluster("brokers = \"localhost:9\"\nlanes = 0"), "there has to be a lane"),
        (cluster("brokers = \"localhost:9\"\nlanes = 1025"), "is not between 0 and 1024"),
        (cluster("brokers = \"localhost:9\"\nroles = [\"fetch\", \"all\"]"), "not what a machine can do"),
        (cluster("brokers = \"localhost:9\"\nsession = \"2h\""), "not between 1s and 30m"),
        (cluster("brokers = \"localhost:9\"\nproperties = { acks = 1 }"), "\"acks\" cannot be set here"),
        (
            cluster("brokers = \"localhost:9\"\nproperties = { \"ssl.key.password\" = \"x\" }"),
            "a secret does not belong",
        ),
        (
            cluster("brokers = \"localhost:9\"\nproperties = { \"no.such.key\" = \"x\" }"),
            "does not accept \"no.such.key\"",
        ),
        (cluster("brokers = \"localhost:9\"\nsecurity = \"scram\""), "needs cluster.user_env"),
        (cluster("brokers = \"localhost:9\"\nsecurity = \"plaintext\"\nca_file = \"ca\""), "has no use for it"),
        (cluster("brokers = \"localhost:9\"\nsecurity = \"tls\"\ncert_file = \"c\""), "needs cluster.key_file"),
        (cluster("brokers = \"localhost:9\"\nlane = 3"), "the nearest known one is \"lanes\""),
    ] {
        machine.write("/a", "", &text);
        says(&machine.cluster("check").exits(78), &[words]);
    }
    let files = "[source]\nurl = \"file:p/*\"\n[load]\nto = \"file:lake\"\n[cluster]\nbrokers = \"localhost:9\"\nname = \"x\"\n";
    machine.place.configure(files);
    says(&machine.cluster("check").exits(78), &["cannot share a folder"]);
    machine.place.configure("[load]\nto = \"file:lake\"\n");
    says(&machine.cluster("check").exits(78), &["there is no [cluster]"]);
}

#[test]
fn users_with_a_password_are_let_in_over_tls_and_others_are_not() {
    let Some(mut machine) = Machine::new("scram").filter(|machine| machine.kafka.is_own()) else { return };
    fs::write(machine.place.path("ca.pem"), machine.kafka.authority()).unwrap();
    let secured = |ca: &str| {
        format!(
            "[cluster]\nbrokers = \"{}\"\nname = \"{}\"\nlanes = 2\nsecurity = \"scram\"\nuser_env = \"K_USER\"\npassword_env = \"K_PASSWORD\"\n{ca}",
            machine.kafka.scram(),
            machine.name
        )
    };
    let (trusting, doubting) = (secured("ca_file = \"ca.pem\"\n"), secured(""));
    machine.write("/a", "", &trusting);
    says(&machine.cluster("check").exits(78), &["K_USER is not set"]);
    machine.place.set("K_USER", USER);
    machine.place.set("K_PASSWORD", PASSWORD);
    machine.cluster("init").exits(0);
    says(&machine.cluster("check").exits(0), &["over TLS, with a password"]);
    machine.place.set("K_PASSWORD", "not-the-password");
    let refused = machine.place.etl(&["-vv", "--log-format", "text", "cluster", "check"]).exits(77);
    says(&refused, &["refuse this user or its password", "cluster.password_env"]);
    assert!(!format!("{refused:?}").contains("not-the-password"), "{refused:#?}");
    machine.place.set("K_PASSWORD", PASSWORD);
    machine.write("/a", "", &doubting);
    says(&machine.cluster("check").exits(78), &["TLS to cluster.brokers fails", "cluster.ca_file"]);
}

#[test]
fn brokers_are_known_by_their_certificates() {
    let Some(machine) = Machine::new("tls").filter(|machine| machine.kafka.is_own()) else { return };
    fs::write(machine.place.path("ca.pem"), machine.kafka.authority()).unwrap();
    let tls = |brokers: &str| {
        let name = &machine.name;
        format!(
            "[cluster]\nbrokers = \"{brokers}\"\nname = \"{name}\"\nlanes = 2\nsecurity = \"tls\"\nca_file = \"ca.pem\"\n"
        )
    };
    machine.write("/a", "", &tls(&machine.kafka.tls()));
    machine.cluster("init").exits(0);
    says(&machine.cluster("check").exits(0), &["over TLS"]);
    machine.write("/a", "", &tls(&machine.kafka.tls().replace("localhost", "127.0.0.1")));
    says(&machine.cluster("check").exits(78), &["TLS to cluster.brokers fails"]);
}
