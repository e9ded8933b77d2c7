module github.com/faena-dev/faena

go 1.26.0
