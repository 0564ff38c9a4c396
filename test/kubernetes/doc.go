// Package kubernetes runs a Kubernetes control plane on Stele and checks the requirements of its store: see README.md.
//
//   - Only the nodes are simulated: kube-apiserver, kube-controller-manager, kube-scheduler and kubectl come from their
//     modules, and kwok provides 50 nodes whose pods run nothing.
//   - All servers use loopback, free ports and certificates of their own, and end with the test, however it ends.
//   - Each check has a name, a result and a time, in a table at the end.
//
// Environment: STELE_TEST_KUBERNETES names the set-ups to run, separated by commas: sqlite (the default), postgres,
// mariadb, replicas (three on Postgres) and etcd, which verifies the expectations on etcd.
package kubernetes
