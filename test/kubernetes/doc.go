// Package kubernetes runs a whole control plane of Kubernetes on Stele and checks what Kubernetes expects of its store:
// see README.md.
//
//   - Everything is real but the nodes: kube-apiserver, kube-controller-manager, kube-scheduler and kubectl as their modules have them, and kwok for
//     50 nodes whose pods run nothing.
//   - Everything is on loopback, on free ports and with certificates of its own, and is gone after the test, however it ends.
//   - Each check has a name, a result and a time, in a table at the end.
//
// Environment: STELE_TEST_KUBERNETES names the set-ups to run, separated by commas: sqlite (the default), postgres,
// mariadb, replicas (three on Postgres) and etcd, which shows that an expectation is etcd's too.
package kubernetes
