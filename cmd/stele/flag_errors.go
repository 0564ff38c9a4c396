package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// explain turns an error of the flag parser into one sentence with the fix.
func explain(err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &invalid):
		return invalidValue("--"+invalid.GetFlag().Name, invalid.GetFlag(), invalid.GetValue())
	case errors.As(err, &missing):
		return fmt.Errorf("--%s needs a value: %s", missing.GetFlag().Name, expected(missing.GetFlag()))
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if hint := etcdHint(name); hint != "" {
			return fmt.Errorf("--%s is a flag of etcd: %s", name, hint)
		}
		return fmt.Errorf("unknown flag --%s; stele --help lists the flags", name)
	}
	return fmt.Errorf("%w; stele --help lists the flags", err)
}

func invalidValue(source string, flag *pflag.Flag, value string) error {
	return fmt.Errorf("%s: %q is not %s", source, value, expected(flag))
}

func expected(flag *pflag.Flag) string {
	switch flag.Value.Type() {
	case "duration":
		return "a duration; write a number with its unit, such as 500ms, 5s or 1h30m"
	case "int", "int64", "uint", "uint32":
		return "a whole number"
	case "bytes":
		return "a size; write a number of bytes, or a number with its unit, such as 512MiB or 8GiB"
	case "bool":
		return "true or false"
	default:
		return "a value"
	}
}
