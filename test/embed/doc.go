// Package embed compares a program that embeds kine with the same program that embeds Stele: its text is written once,
// for kine, in the directory program, and the second binary is built from it with the import paths replaced and nothing
// else. Both do what k3s does with its datastore, print what they see, and must print the same.
//
// It is a module of its own because kine's dependencies are many.
package embed
