//! Whatever troubles come after another: `--check` is not OK while a record is at risk, and all ends well.
//!
//! A record is at risk when the source has it and it is not in the store exactly once. What no run and no verification could know
//! yet (an object that was deleted since) is not held against the monitor. Planted bug that turns this red: exit 74 called OK.

use std::fs;

use crate::support::cli::page;
use crate::support::origin::Answer;
use crate::support::tally;

use super::world::World;

/// A small generator of numbers: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }
}

const TROUBLES: [&str; 11] = [
    "none",
    "source",
    "store",
    "wrong key",
    "no key",
    "other key's token",
    "setting",
    "ledger",
    "lost state",
    "deleted object",
    "reflexive replay",
];

/// Troubles in any order, each once before one comes again.
struct Deck(Vec<&'static str>);

impl Deck {
    fn draw(&mut self, numbers: &mut Numbers) -> &'static str {
        if self.0.is_empty() {
            self.0.extend(TROUBLES);
        }
        let which = numbers.below(self.0.len());
        self.0.swap_remove(which)
    }
}

/// Deletes the newest part, as the next verification finds.
fn delete_a_part(world: &World) {
    let (key, _) = world.place.lake("lake").pop().unwrap();
    fs::remove_file(world.place.path("lake").join(key)).unwrap();
    world.place.etl(&["verify"]).exits(76);
}

/// Lets a trouble befall the next run; it stays until [`mend`].
fn befall(world: &mut World, trouble: &str, other_key: &str) {
    world.new_log();
    world.hand_out_all();
    match trouble {
        "source" => world.origin.script(vec![Answer::Status(503, "away".into())]),
        "store" => {
            fs::rename(world.place.path("lake"), world.place.path("aside")).unwrap();
            fs::write(world.place.path("lake"), "").unwrap();
        }
        "wrong key" => world.place.set("FERNET_KEY", &fernet::Fernet::generate_key()),
        "no key" => world.place.set("FERNET_KEY", ""),
        "other key's token" => {
            let mine = page(&world.place.key, &world.logs());
            let theirs = page(other_key, &[world.new_log()]);
            let both = format!("{},{}", mine.strip_suffix(']').unwrap(), theirs.strip_prefix('[').unwrap());
            world.origin.script(vec![Answer::Page(both), Answer::Page("[]".into())]);
        }
        "setting" => world.configure("timezone = \"Asia/Seoul\"\n"),
        "ledger" => {
            let head = world.place.path("etl-state/ledger/head");
            let mut bytes = fs::read(&head).unwrap();
            bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::write(head, bytes).unwrap();
        }
        "lost state" => fs::remove_dir_all(world.place.path("etl-state")).unwrap(),
        "deleted object" => delete_a_part(world),
        _ => {}
    }
}

/// Takes the cause away, as the advice says. The records that were missed are still with the source.
fn mend(world: &mut World, trouble: &str, other_key: &str) {
    let ring = format!("{},{other_key}", world.place.key);
    match trouble {
        "store" => {
            fs::remove_file(world.place.path("lake")).unwrap();
            fs::rename(world.place.path("aside"), world.place.path("lake")).unwrap();
        }
        "wrong key" | "no key" => {
            let key = world.place.key.clone();
            world.place.set("FERNET_KEY", &key);
        }
        "other key's token" => {
            world.place.set("FERNET_KEY", &ring);
            world.place.etl(&["replay", "--quarantine"]);
        }
        "setting" => world.configure(""),
        "deleted object" => drop(world.place.etl(&["repair"])),
        "ledger" | "lost state" => drop(world.place.etl(&["replay", "--from-s3"])),
        _ => {}
    }
}

#[test]
fn monitor_is_never_green_while_a_record_is_at_risk_and_is_green_in_the_end() {
    let seed = tally::seed("stories::sequences", 0x0570_41e5);
    let mut deck = Deck(Vec::new());
    for case in 0..tally::scale(4, 200) {
        let mut numbers = Numbers(seed.wrapping_add(case));
        let other_key = fernet::Fernet::generate_key();
        let mut world = World::with("[archive]\ndir = \"kept\"\n");
        let mut story = Vec::new();
        for _ in 0..6 {
            let trouble = deck.draw(&mut numbers);
            story.push(trouble);
            befall(&mut world, trouble, &other_key);
            let holds = |world: &World, when: &str| {
                let check = world.check();
                let stored = world.nothing_is_at_risk();
                assert!(check.code != 0 || stored, "seed {seed:#x}, case {case}, {story:?}, {when}: {check:?}");
            };
            world.place.etl(&["run"]);
            holds(&world, "after the run");
            if trouble == "reflexive replay" || numbers.below(2) == 0 {
                world.place.etl(&["replay"]);
                holds(&world, "after a replay");
            }
            mend(&mut world, trouble, &other_key);
            holds(&world, "when its cause is gone");
            if numbers.below(2) == 0 {
                world.hand_out_all();
                world.place.etl(&["run"]);
                holds(&world, "after the next run");
            }
        }
        world.hand_out_all();
        let ran = world.place.etl(&["run", "--drain"]);
        assert_eq!(ran.code, 0, "seed {seed:#x}, case {case}, {story:?}: {ran:?}");
        world.is_well();
    }
}
