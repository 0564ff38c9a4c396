// Package replicas runs several replicas of Stele on one database.
package replicas
