/** A build's parameters by name; one that was not declared is an error. */
class Parameters {
  final Map values = [:]

  def propertyMissing(String name) {
    if (!values.containsKey(name)) {
      throw new MissingPropertyException("no parameter $name is declared")
    }
    values[name]
  }
}
