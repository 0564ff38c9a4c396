package main

import (
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"
)

// size is the value of a flag in bytes: a plain number, or one with a unit such as KiB, MiB, GiB, kB, MB or GB.
type size[T int | int64] struct{ bytes *T }

// sizeVar declares a flag whose value is a size.
func sizeVar[T int | int64](fs *pflag.FlagSet, p *T, name string, value T, usage string) {
	*p = value
	fs.Var(size[T]{p}, name, usage)
}

func (s size[T]) String() string {
	if s.bytes == nil { // pflag compares defaults with a zero value
		return "0"
	}
	n := int64(*s.bytes)
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n != 0 && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func (s size[T]) Set(text string) error {
	digits, negative := strings.CutPrefix(text, "-")
	n, err := humanize.ParseBytes(digits)
	if err != nil {
		return err
	}
	bytes := T(n)
	if bytes < 0 || uint64(bytes) != n {
		return strconv.ErrRange
	}
	if negative {
		bytes = -bytes
	}
	*s.bytes = bytes
	return nil
}

func (size[T]) Type() string { return "bytes" }
