"""Runs the tests that the package etcd3gw contains on the server at the address HOST:PORT of the first argument.

The second argument is a pattern of tests to leave out. Prints the result of each test.
"""

import re
import sys
import unittest
from unittest import mock

import urllib3

from etcd3gw.client import Etcd3Client

(host, port), without = sys.argv[1].split(':'), sys.argv[2]


# The tests use the defaults of the client. Its default path is that of an etcd before 3.4.
def init(self, original=Etcd3Client.__init__):
    original(self, host=host, port=int(port), api_path='/v3/')


Etcd3Client.__init__ = init

# When the tests are loaded, they look for a server at the default address, and are skipped if there is none.
with mock.patch.object(urllib3.PoolManager, 'request'):
    from etcd3gw.tests import test_etcd3gw


class Result(unittest.TextTestResult):
    def stopTest(self, test):
        super().stopTest(test)
        failed = [t for t, _ in self.failures + self.errors + self.skipped]
        print(test.id().rpartition('.')[2], 'failed' if test in failed else 'passed')


def tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests(test)
        elif not re.search(without, test.id()):
            yield test


loaded = unittest.defaultTestLoader.loadTestsFromModule(test_etcd3gw)
result = unittest.TextTestRunner(resultclass=Result).run(unittest.TestSuite(tests(loaded)))
sys.exit(not result.wasSuccessful() or result.testsRun == 0)
