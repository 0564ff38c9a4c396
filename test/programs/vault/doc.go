// Package vault tests the storage backend of HashiCorp Vault for etcd.
package vault
