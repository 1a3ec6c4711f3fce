"""Beam's flags are checked as Beam reads them, before any work."""

from __future__ import annotations

import gc

import pytest
from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import beam_flags, config
from pipeline.config import ConfigError

RUNNERS = [
    ["--runner", "FlinkRunner", "--flink_master=host:8081", "--parallelism", "4", "--flink_version=2.0"],
    ["--runner=PrismRunner", "--prism_location", "/opt/prism"],
    ["--runner=PortableRunner", "--job_endpoint=localhost:1", "--environment_type=LOOPBACK", "--job-server-timeout=9"],
    ["--runner=SparkRunner", "--spark_master_url=local"],
    ["--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=gs://b/t", "--no_use_public_ips"],
    ["--direct_num_workers=2", "--direct_running_mode", "multi_processing", "--no_pipeline_type_check"],
    ["--experiments=a", "--experiments=b,c", "--experiment", "d", "--label=x=y", "--extra_package=p.tar.gz"],
    [],
]


@pytest.mark.parametrize("arguments", RUNNERS)
def test_flags_of_runners_pass(arguments):
    beam_flags.check_words(arguments)
    beam_flags.check(arguments)
    assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= set(beam_flags.names())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runner", "FlinkRunner", "data.tar"], "'data.tar' does not belong to an option; give shards with --input"),
        (["--no_pipeline_type_check", "true"], "'true' does not belong to an option"),
        (["--direct_num_worker=2"], "not an option of Beam; did you mean --direct_num_workers?"),
        (["--direct_num_workers=two"], "--direct_num_workers: invalid int value: 'two'"),
        (["--direct_num_workers"], "--direct_num_workers: expected one argument"),
        (["--direct_running_mode=threads"], "--direct_running_mode: invalid choice: 'threads'"),
        (["--runner=FlinkRuner"], "--runner: 'FlinkRuner': .*Valid values are .*FlinkRunner"),
        (["--runner=no_such_module.Runner"], "--runner: 'no_such_module.Runner': No module named 'no_such_module'"),
        (["--runner=os.Runner"], "--runner: 'os.Runner'"),
    ],
)  # fmt: skip
def test_what_beam_would_not_take_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        beam_flags.check(arguments)


def test_the_names_found_in_beams_source_are_those_that_it_declares():
    declared = set(beam_flags._flags(beam_flags._parser()))
    beams_own = [cls for cls in PipelineOptions.__subclasses__() if cls.__module__ == pipeline_options.__name__]
    assert declared <= beam_flags._declared() and beams_own == PipelineOptions.__subclasses__()
    assert beam_flags._declared() - declared <= {"--abc", "--xyz", "--vp_arg1", "--vp_arg2", "--non_vp_arg"}  # of docs
    assert set(beam_flags.names()) == declared


def test_options_that_someone_else_declares_count_once_they_are_imported():
    class Theirs(PipelineOptions):
        @classmethod
        def _add_argparse_args(cls, parser):
            parser.add_argument("--their_flag", type=int)

    try:
        assert "--their_flag" in beam_flags.names()
        beam_flags.check(["--their_flag", "3"])
        with pytest.raises(ConfigError, match="--their_flag: invalid int"):
            beam_flags.check(["--their_flag", "x"])
    finally:
        del Theirs
        gc.collect()
    with pytest.raises(ConfigError, match="--their_flag: is not an option of Beam"):
        beam_flags.check(["--their_flag", "3"])


def test_no_flag_is_both_ours_and_beams():
    ours = {f"--{name}" for name in [*config.options(), "config"]}
    assert not ours & set(beam_flags.names())
