// Command conventions checks the conventions of the repository that golangci-lint does not check:
//
//   - Text files have at most 120 columns.
//   - The subjects of commits are `area: what it does`.
//   - The targets of make and the suites of tests that pages and scripts name exist, and test/README.md has each suite.
//   - The linter runs with every build tag.
//
// It runs in the root of the repository, prints one line for each deviation, and exits with 1 if it found any.
package main
