package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// logConfig holds the flags of the log.
type logConfig struct {
	format string
	level  string
	debug  bool
}

func (c *logConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.format, "log-format", "plain", "plain or json")
	fs.StringVar(&c.level, "log-level", "info", "trace, debug, info, warn or error")
	fs.BoolVar(&c.debug, "debug", false, "same as --log-level=debug")
	mark(fs, kineFlag, "log-format", "debug")
}

// logger returns a logger that writes to w in the format and at the level of the flags.
func (c *logConfig) logger(w io.Writer) (*logrus.Entry, error) {
	logger := logrus.New()
	logger.SetOutput(w)
	switch c.format {
	case "plain":
		logger.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	case "json":
		// kine's field names keep programs working that parse its logs.
		logger.SetFormatter(withDurations{&logrus.JSONFormatter{
			TimestampFormat: time.RFC3339Nano,
			FieldMap:        logrus.FieldMap{logrus.FieldKeyLevel: "severity", logrus.FieldKeyMsg: "message"},
		}})
	default:
		return nil, fmt.Errorf("--log-format: %q is not plain or json", c.format)
	}
	levels := map[string]logrus.Level{
		"trace": logrus.TraceLevel, "debug": logrus.DebugLevel, "info": logrus.InfoLevel,
		"warn": logrus.WarnLevel, "error": logrus.ErrorLevel,
	}
	level, ok := levels[c.level]
	if !ok {
		return nil, fmt.Errorf("--log-level: %q is not trace, debug, info, warn or error", c.level)
	}
	if c.debug {
		level = max(level, logrus.DebugLevel)
	}
	logger.SetLevel(level)
	return logrus.NewEntry(logger), nil
}

// withDurations formats durations with their unit, as the plain format does, and not as numbers of nanoseconds.
type withDurations struct{ logrus.Formatter }

// Format implements [logrus.Formatter].
func (f withDurations) Format(entry *logrus.Entry) ([]byte, error) {
	data := make(logrus.Fields, len(entry.Data))
	for name, value := range entry.Data {
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		data[name] = value
	}
	formatted := *entry
	formatted.Data = data
	return f.Formatter.Format(&formatted)
}

// errLogged is returned instead of an error that has been logged.
var errLogged = errors.New("logged")

// report logs err if the log is JSON, so that every line on standard error is JSON, and returns errLogged. Otherwise it
// returns err.
func (c *logConfig) report(err error, w io.Writer) error {
	if err == nil || c.format != "json" {
		return err
	}
	logger, invalid := c.logger(w)
	if invalid != nil {
		return err
	}
	logger.WithError(err).Log(logrus.FatalLevel, "stopped because of an error")
	return errLogged
}
