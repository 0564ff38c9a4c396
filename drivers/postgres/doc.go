// Package postgres keeps the log in a PostgreSQL database.
package postgres
