// Package embed compares a program that embeds kine with the same program that embeds Stele.
//
// The program, in the directory program, is written for kine. The second binary is built from it with only the import
// paths replaced. Both use the datastore as k3s does, print what they read, and must print the same.
//
// It is a module of its own because kine has many dependencies.
package embed
