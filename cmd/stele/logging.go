package main

import (
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"
)

// logger writes to w in the format and at the level that the flags ask for.
func (c *config) logger(w io.Writer) (*logrus.Entry, error) {
	log := logrus.New()
	log.SetOutput(w)
	switch c.logFormat {
	case "plain":
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	case "json":
		// The field names of kine, so that what parses its logs goes on working.
		log.SetFormatter(&logrus.JSONFormatter{
			TimestampFormat: time.RFC3339Nano,
			FieldMap:        logrus.FieldMap{logrus.FieldKeyLevel: "severity", logrus.FieldKeyMsg: "message"},
		})
	default:
		return nil, fmt.Errorf("--log-format: %q is not plain or json", c.logFormat)
	}
	levels := map[string]logrus.Level{
		"trace": logrus.TraceLevel, "debug": logrus.DebugLevel, "info": logrus.InfoLevel,
		"warn": logrus.WarnLevel, "error": logrus.ErrorLevel,
	}
	level, ok := levels[c.logLevel]
	if !ok {
		return nil, fmt.Errorf("--log-level: %q is not trace, debug, info, warn or error", c.logLevel)
	}
	if c.debug {
		level = max(level, logrus.DebugLevel)
	}
	log.SetLevel(level)
	return logrus.NewEntry(log), nil
}
