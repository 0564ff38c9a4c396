// Package mysql keeps the log in MySQL.
package mysql
