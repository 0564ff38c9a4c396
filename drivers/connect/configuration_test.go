package connect

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestConfigurationKeepsTheText(t *testing.T) {
	err := fmt.Errorf("opening: %w", Configuration(fmt.Errorf("no such file: %w", fs.ErrNotExist)))
	if !errors.Is(err, ErrConfiguration) || !errors.Is(err, fs.ErrNotExist) ||
		err.Error() != "opening: no such file: file does not exist" {
		t.Errorf("marked: %v", err)
	}
	if twice := Configuration(err); twice != err { //nolint:errorlint // the very same, not one that wraps it
		t.Errorf("marked twice: %v", twice)
	}
	if errors.Is(errors.New("connection refused"), ErrConfiguration) || Configuration(nil) != nil {
		t.Error("marked what is not")
	}
}
