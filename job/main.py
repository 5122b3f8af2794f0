"""The file that spark-submit starts; its arguments are those of `verger`."""

from verger.cli import main

if __name__ == "__main__":
    main()
