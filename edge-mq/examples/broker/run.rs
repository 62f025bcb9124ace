//! What the program does, from its command line to its end.

use std::error::Error;
use std::path::Path;

use tokio::runtime::Runtime;
use tracing::{error, info, warn};

use super::arguments::{Arguments, Command, USAGE};
use super::import;
use super::log::Logging;
use super::mistakes::{Mistake, with_causes};
use super::notify::{self, Watchdog};
use super::running::Running;
use super::settings::Settings;
use super::signals::{Signal, Signals};

/// Gives the exit code: 0 if all went well, 1 if not, 2 for a command line that means nothing.
pub(crate) fn run(words: &[String]) -> u8 {
    let done = match Command::parse(words) {
        Ok(Command::Help) => {
            println!("{USAGE}");
            Ok(())
        }
        Ok(Command::Check(arguments)) => check(&arguments),
        Ok(Command::Import(file)) => print_imported(&file),
        Ok(Command::Run(arguments)) => serve(&arguments),
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return 2;
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            1
        }
    }
}

fn read(arguments: &Arguments) -> Result<Settings, Vec<Mistake>> {
    Settings::read(arguments.config.as_deref(), &arguments.overrides)
}

fn check(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    read(arguments).map_err(|mistakes| about(&mistakes))?;
    println!("no mistakes");
    Ok(())
}

/// All of them, one a line, and how many.
fn about(mistakes: &[Mistake]) -> String {
    let lines: String = mistakes.iter().map(|mistake| format!("{mistake}\n")).collect();
    lines + &count(mistakes)
}

fn count(mistakes: &[Mistake]) -> String {
    let plural = if mistakes.len() == 1 { "" } else { "s" };
    format!("{} mistake{plural}", mistakes.len())
}

fn print_imported(file: &Path) -> Result<(), Box<dyn Error>> {
    let imported = import::import(file)?;
    print!("{}", imported.toml);
    for mistake in &imported.left_out {
        eprintln!("{mistake}");
    }
    Ok(())
}

fn serve(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let settings =
        read(arguments).map_err(|mistakes| about(&mistakes) + "; the broker does not start")?;
    let mut logging = Logging::start(settings.log.clone())?;
    // The thread that blocks on it is none of its workers, so files may be read here meanwhile.
    Runtime::new()?.block_on(async {
        let mut signals = Signals::listen()?;
        let mut running = Running::start(settings).await?;
        notify::ready();
        let watchdog = Watchdog::start(running.broker()).await?;
        while signals.next().await == Signal::Reload {
            notify::reloading();
            reload(&mut running, &mut logging, arguments).await;
            notify::ready();
        }
        notify::stopping();
        drop(watchdog);
        tokio::select! {
            stopped = running.stop() => stopped?,
            () = signals.stop_again() => warn!("stopped at once: clients were cut off"),
        }
        Ok(())
    })
}

async fn reload(running: &mut Running, logging: &mut Logging, arguments: &Arguments) {
    if arguments.config.is_none() {
        return warn!("there is no file to reload: the broker was started without --config");
    }
    match read(arguments) {
        Ok(settings) => {
            let log = match logging.change(settings.log.clone()) {
                Ok(needs_restart) => needs_restart,
                Err(error) => {
                    error!("the log stays as it is: {error}");
                    None
                }
            };
            running.reload(settings, log).await;
            info!("reloaded");
        }
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| error!("{mistake}"));
            error!("{}; nothing is changed", count(&mistakes));
        }
    }
}
