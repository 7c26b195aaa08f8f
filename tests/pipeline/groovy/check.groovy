// Usage: groovy check.groovy MAKEFILE JENKINSFILE...
// Reads Jenkinsfiles without running them; exit code 1 and a line for each fault.
def found = false
args.drop(1).each { file ->
  new Declarative(new File(args[0]).text).check(new File(file).text).each {
    System.err.println("$file: $it")
    found = true
  }
}
System.exit(found ? 1 : 0)
