"""verger.network.daemon without TensorFlow, for tests of how it starts."""

from verger.network import daemon

if __name__ == "__main__":
    daemon._IMPORTED = ()
    daemon.main()
