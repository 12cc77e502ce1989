// What users' tests have is the tests' own, too. Test kit.

@_exported public import SluiceTesting
