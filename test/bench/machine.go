package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"
)

// busyFor is how long the load of the machine is measured.
const busyFor = 2 * time.Second

// busy returns the part of the processors' time, 0 to 1, that other processes take while nothing is measured. The load
// average would count the previous measurement too.
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

// processorTime returns the idle time and the total time of all processors, in ticks. See proc(5).
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
	for i, f := range fields[1:9] { // user and nice include the time of guests
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
