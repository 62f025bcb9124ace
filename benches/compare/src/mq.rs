//! edge-mq against other MQTT brokers, and against the disk where it is durable.

mod crowd;
mod durable;
mod floors;
/// The one that users have, too.
#[allow(dead_code, unused_imports, reason = "the example uses the rest")]
#[path = "../../../edge-mq/examples/bench/generator/generator.rs"]
pub(crate) mod generator;
mod load;
mod matching;
mod measure;
mod peer;
mod process;
mod report;
mod serve;
mod traffic;
mod work;

use std::process::ExitCode;

pub(crate) use load::{Sample, run as run_load};
pub(crate) use measure::{LATE, micros};
pub(crate) use process::Broker;
pub(crate) use serve::{SERVE, serve};
pub(crate) use traffic::durable_fan_in;

use self::floors::floors;
use self::measure::RUNS;
use self::peer::{Peer, about_mosquitto};
use self::work::Work;
use crate::device::Device;
use crate::figures::Case;
use crate::options::{Options, Program};
use crate::report::{conclude, json_file};
use crate::{Result, runs};

type Bound = crate::floors::Bound<Work, Peer>;
type Figure = crate::figures::Figure<Work, Peer>;
type Figures = crate::figures::Figures<Work, Peer>;
type Floor = crate::floors::Floor<Work, Peer>;
type Sheet<'a> = crate::figures::Sheet<'a, Work, Peer>;

const ABOUT: &str = "\
edge-mq against other MQTT brokers: messages per second, latency, what the broker takes of processor
and memory, what durability costs, and whether anything was lost, doubled or out of order. MQTT 3.1.1
over loopback, 64-byte payloads, brokers in processes of their own. Ends with edge-mq's floors; exit
code 1 when one of them does not hold.";

/// The subcommand `mq`.
pub(crate) fn main(parser: lexopt::Parser) -> ExitCode {
    let cases = Work::ALL.iter().map(|work| work.name()).collect();
    let program = Program { name: "mq", about: ABOUT, cases, seconds: 4, rounds: 5, quick: (1, 2) };
    program.main(parser, compare)
}

fn compare(options: &Options) -> Result<ExitCode> {
    let json = json_file(options)?;
    let figures = runs::measure(&RUNS, options, options);
    print_head(options);
    conclude(&figures, &floors(), &[report::table(&figures)], json)
}

fn print_head(options: &Options) {
    let (rounds, seconds) = (options.rounds, options.time.as_secs());
    println!("Rounds: {rounds}; {seconds} s for each work. Medians of the rounds.");
    println!("{}", about_mosquitto());
    match Device::below(&options.dir) {
        Ok(device) => println!("Durable: on block device {device}."),
        Err(why) => println!("Durable: below {}, but {why}.", options.dir.display()),
    }
    println!("{}\n", report::LEGEND);
}
