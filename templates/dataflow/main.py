"""The entry point of the Flex Template: submits the run and does not wait for it."""

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", "--runner=DataflowRunner", "--no_wait_until_finish", *sys.argv[1:]]))
