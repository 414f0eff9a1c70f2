//! The Airflow DAG of `fixtures/`, run by a real Airflow over the pages there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::cli::Place;
use crate::support::python::venv;
use crate::support::state_dir::copy_dir;

/// An Airflow with a database of its own, and the fixtures' configuration and pages.
struct Airflow {
    python: PathBuf,
    place: Place,
}

impl Airflow {
    fn new() -> Option<Self> {
        let python = venv("airflow", &["apache-airflow==3.3.2"])?;
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let place = Place::new(&std::fs::read_to_string(fixtures.join("demo.toml")).unwrap());
        copy_dir(&fixtures.join("pages"), &place.path("pages"));
        let airflow = Self { python, place };
        airflow.airflow(&["db", "migrate"]);
        Some(airflow)
    }

    #[track_caller]
    fn airflow(&self, args: &[&str]) -> String {
        let dags = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/airflow/dags");
        let ran = Command::new(self.python.join("bin/airflow"))
            .args(args)
            .env_clear()
            .env("PATH", format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.python.display()))
            .env("HOME", self.place.path(""))
            .env("AIRFLOW_HOME", self.place.path("airflow"))
            .env("AIRFLOW__CORE__DAGS_FOLDER", dags)
            .env("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("ETL_BIN", env!("CARGO_BIN_EXE_etl"))
            .env("ETL_CONFIG", self.place.path("etl.toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let Output { status, stdout, stderr } = ran;
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "airflow {args:?}: {said}");
        said
    }

    /// The state and the XCom of the newest run's task.
    fn newest(&self) -> (String, Option<Value>) {
        let script = "import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
run, state = db.execute('select run_id, state from task_instance order by start_date desc limit 1').fetchone()
found = db.execute(\"select value from xcom where run_id = ? and key = 'return_value'\", (run,)).fetchone()
print(json.dumps([state, found and json.loads(found[0])]))";
        let database = self.place.path("airflow/airflow.db");
        let python = self.python.join("bin/python");
        let ran = Command::new(python).args(["-c", script]).arg(database).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let summary = found[1].as_str().map(|text| serde_json::from_str(text).unwrap());
        (found[0].as_str().unwrap().to_owned(), summary)
    }
}

#[test]
fn dag_runs_the_job_once_the_second_time_adds_nothing_and_a_busy_one_is_skipped() {
    let Some(airflow) = Airflow::new() else { return };
    airflow.airflow(&["dags", "test", "etl"]);
    let (state, summary) = airflow.newest();
    let summary = summary.unwrap();
    assert_eq!((&*state, &summary["new"], &summary["uploaded_parts"]), ("success", &540.into(), &3.into()));

    let lake = airflow.place.lake("lake");
    airflow.airflow(&["dags", "test", "etl"]);
    let (state, summary) = airflow.newest();
    let summary = summary.unwrap();
    assert_eq!((&*state, &summary["new"], &summary["uploaded_parts"]), ("success", &0.into(), &0.into()));
    assert_eq!(airflow.place.lake("lake"), lake);

    let _lock = etl::state::Lock::take(&airflow.place.path("etl-state")).unwrap();
    airflow.airflow(&["dags", "test", "etl"]);
    assert_eq!(airflow.newest(), ("skipped".to_owned(), None));
}
