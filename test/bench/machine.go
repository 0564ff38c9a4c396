package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"
)

// busyFor is how long the machine is looked at.
const busyFor = 2 * time.Second

// busy is the part of the processors' time, 0 to 1, that is taken while nothing is measured: what others took from the
// measurement. The load average would count the measurement before this one too.
func busy() (float64, error) {
	idle, all, err := processorTime()
	if err != nil {
		return 0, err
	}
	<-time.After(busyFor)
	idleThen, allThen, err := processorTime()
	if err != nil {
		return 0, err
	}
	return 1 - float64(idleThen-idle)/float64(max(1, allThen-all)), nil
}

// processorTime reads the time, in ticks, that all processors together were idle, and that has passed for them. See
// proc(5).
func processorTime() (idle, all int64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("/proc/stat begins otherwise than expected")
	}
	for i, f := range fields[1:9] { // what guests take is in the others already
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		all += n
		if i == 3 || i == 4 { // idle, and idle until a disk answers
			idle += n
		}
	}
	return idle, all, nil
}
