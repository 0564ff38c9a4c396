package main

import "github.com/spf13/pflag"

// The annotations of flags.
const (
	// kineFlag marks a flag that kine has too: kine's environment variable sets it.
	kineFlag = "kine"
	// remoteFlag marks a flag that has no effect on an SQLite file.
	remoteFlag = "remote"
	// retiredFlag marks a flag that has no effect. The value of the annotation is the reason.
	retiredFlag = "retired"
)

// mark annotates flags of fs. It panics if one of them is not declared.
func mark(fs *pflag.FlagSet, annotation string, names ...string) {
	for _, name := range names {
		if err := fs.SetAnnotation(name, annotation, nil); err != nil {
			panic(err)
		}
	}
}

// marked reports whether a flag has an annotation.
func marked(f *pflag.Flag, annotation string) bool {
	_, ok := f.Annotations[annotation]
	return ok
}
