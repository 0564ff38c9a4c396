package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/stele-db/stele/compactor"
	"github.com/stele-db/stele/logstructured"
)

// schedule returns the schedule of compactions, or nil if only clients compact.
func (c *config) schedule() (compactor.Schedule, error) {
	keep, err := c.retention()
	if err != nil {
		return nil, err
	}
	switch {
	case c.compactInterval < 0:
		return nil, errors.New("--compact-interval: must not be negative; 0 turns it off")
	case c.compactIntervalJitter < 0 || c.compactIntervalJitter > 99:
		return nil, fmt.Errorf("--compact-interval-jitter: %d is not a percentage from 0 to 99",
			c.compactIntervalJitter)
	case c.compactTimeout <= 0:
		return nil, errors.New("--compact-timeout: must be longer than 0, such as 5s")
	case c.compactMinRetain < 0:
		return nil, errors.New("--compact-min-retain: must not be negative; 0 retains only what is current")
	case keep != nil && c.compactInterval > 0:
		return nil, errors.New("--auto-compaction-retention and --compact-interval both schedule compactions; " +
			"set one of them")
	case keep != nil:
		return keep, nil
	case c.compactInterval > 0:
		return compactor.Interval{
			Every:  c.compactInterval,
			Jitter: c.compactIntervalJitter,
			Retain: logstructured.Revision(c.compactMinRetain),
		}, nil
	}
	return nil, nil
}

// retention parses etcd's pair of flags by the rules of etcd (server/embed/etcd.go, parseCompactionRetention): in mode
// periodic, a number without a unit means hours. It rejects values that etcd accidentally interprets as nanoseconds or
// revisions.
func (c *config) retention() (compactor.Schedule, error) {
	const flag = "--auto-compaction-retention"
	number, err := strconv.ParseInt(c.autoCompactionRetention, 10, 64)
	isNumber := err == nil
	switch c.autoCompactionMode {
	case "revision":
		if !isNumber || number < 0 {
			return nil, fmt.Errorf("%s: %q is not a number of revisions, which --auto-compaction-mode=revision needs",
				flag, c.autoCompactionRetention)
		}
		if number == 0 {
			return nil, nil
		}
		return compactor.Revision{Retain: logstructured.Revision(number)}, nil
	case "periodic":
		const maxHours = int64((1<<63 - 1) / time.Hour)
		var keep time.Duration
		if isNumber && number >= 0 && number <= maxHours {
			keep = time.Duration(number) * time.Hour
		} else if keep, err = time.ParseDuration(c.autoCompactionRetention); err != nil || keep < 0 {
			return nil, fmt.Errorf("%s: %q is not a time to keep; write a number of hours, or a number with its "+
				"unit, such as 30m",
				flag, c.autoCompactionRetention)
		}
		if keep == 0 {
			return nil, nil
		}
		return compactor.NewPeriodic(keep), nil
	}
	return nil, fmt.Errorf("--auto-compaction-mode: %q is not periodic or revision", c.autoCompactionMode)
}
